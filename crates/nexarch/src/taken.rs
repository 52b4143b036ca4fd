//! The last part of the way in: from decoded spans to what an answer says of them.

use std::sync::{Arc, atomic::Ordering};

use nexarch_core::{
    otlp::{Flags, Reason},
    span::Span,
};
use tracing::Instrument;

use crate::{
    app::App,
    auth::Caller,
    http::ApiError,
    ingest::{Transport, inflight::Held},
    lifecycle,
};

/// What a request held.
pub(crate) struct Sent {
    /// The valid spans.
    pub(crate) spans: Vec<Span>,
    /// All, valid or not.
    pub(crate) received: usize,
    /// Those that are not.
    pub(crate) rejected: u64,
    /// What was odd.
    pub(crate) flags: Flags,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// New spans.
    pub(crate) accepted: u64,
    /// Known ones.
    pub(crate) duplicates: u64,
    /// Refused in the end: their days were dropped.
    pub(crate) expired: u64,
    /// The version that the tenant has now.
    pub(crate) version: u64,
}

impl Taken {
    /// What an answer says of spans that were refused in the end.
    pub(crate) fn message(&self) -> Option<String> {
        (self.expired > 0).then(|| format!("{} spans rejected: {}", self.expired, Reason::Expired))
    }
}

impl App {
    /// Stores what a request held, and counts it. To the end, also when the caller hangs up meanwhile: its spans are stored
    /// then, and what was wrong with the others is to be seen.
    pub(crate) async fn take(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        transport: Transport,
        sent: Sent,
        held: Held,
    ) -> Result<Taken, ApiError> {
        let (app, caller) = (Arc::clone(self), Arc::clone(caller));
        let work = async move { app.take_all(&caller, transport, sent, held).await };
        let task = self.lifecycle.tracker().spawn(work.in_current_span());
        task.await.map_err(ApiError::internal)?
    }

    async fn take_all(
        &self,
        caller: &Caller,
        transport: Transport,
        sent: Sent,
        held: Held,
    ) -> Result<Taken, ApiError> {
        let Sent { spans, received, rejected, mut flags } = sent;
        let answer = async {
            self.is_still(caller).await?;
            if spans.is_empty() {
                let version = self.acknowledge_nothing(caller).await?;
                return Ok(Taken { accepted: 0, duplicates: 0, expired: 0, version });
            }
            let appended = self.ingest.store(caller, spans, held).await?;
            Ok(Taken {
                accepted: appended.accepted,
                duplicates: appended.duplicates,
                expired: appended.expired,
                version: appended.versions.clock,
            })
        };
        let taken = self.counted(caller, received, answer).await?;
        let refused = rejected + taken.expired;
        flags.rejected_expired += taken.expired;
        self.ingest.counters.answered(transport, taken.accepted, taken.duplicates, refused);
        self.note(&caller.tenant, refused, &flags);
        Ok(taken)
    }

    /// A body may take minutes: is its caller who it was? A key that was revoked meanwhile, or a tenant that was made anew,
    /// gets nothing more.
    async fn is_still(&self, caller: &Caller) -> Result<(), ApiError> {
        let now = self.auth.renew(caller, lifecycle::now_us()).await?;
        if now.tenant_created_us == caller.tenant_created_us && now.may(nexarch_store::Scope::Ingest) {
            Ok(())
        } else {
            Err(ApiError::unauthorized("the API key is of another tenant now"))
        }
    }

    /// Spans before this are refused, because their days were dropped; nanoseconds since the Unix epoch.
    pub(crate) fn kept_from_ns(&self) -> u64 {
        self.kept_from_ns.load(Ordering::Relaxed)
    }
}
