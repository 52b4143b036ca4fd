//! `nexarch import`: trace files into a tenant.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use nexarch_core::{ids::TenantId, otlp::Flags, span::Span};
use nexarch_store::{Batch, Error as StoreError, Kept, Settling, Store};
use tokio::time::Instant;

use super::{block_on, output};
use crate::{
    authority,
    config::Config,
    import::{self, Offset, Options, Shift, Stored, Summary},
    lifecycle,
};

/// Not everything is done.
const LATER: &str = "the spans are stored, but some large traces are not settled yet; the server will do it";

/// An import settles large traces at least for so long, if there are so many.
const SETTLING: Duration = Duration::from_secs(20);

/// Load trace files into a tenant
#[derive(clap::Args)]
#[command(
    after_help = "Reads OTLP (JSON or protobuf), Jaeger UI JSON and Zipkin v2 JSON, plain, gzip or zstd, told by content and not \
                  by name. Works beside a running server.\n\n\
                  Importing a file again stores nothing twice, as long as its spans keep their times: after \
                  --shift-to-now, import it again with the --shift-by that was printed.\n\n\
                  Examples:\n  \
                  nexarch import --tenant default --shift-to-now traces.jsonl.gz\n  \
                  nexarch import --tenant default jaeger-export.json zipkin.json.zst\n  \
                  curl -s https://example.com/traces.json | nexarch import --tenant default /dev/stdin"
)]
pub(super) struct Args {
    /// Into this tenant
    #[arg(long)]
    tenant: TenantId,
    /// The files; pipes too, but not with --shift-to-now
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Move all files by one offset, so that the newest span ends now; a few spans with wrong clocks do not count
    #[arg(long, conflicts_with = "shift_by")]
    shift_to_now: bool,
    /// Move all files by this, such as 90d or -1500ms
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    shift_by: Option<Offset>,
    /// Where the data are, such as `sqlite:///var/lib/nexarch.db`
    #[arg(long)]
    database_url: Option<String>,
}

impl Args {
    fn shift(&self) -> Shift {
        match self.shift_by {
            Some(offset) => Shift::By(offset),
            None if self.shift_to_now => Shift::ToNow,
            None => Shift::No,
        }
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let flags = crate::config::flags([("DATABASE_URL", args.database_url.clone())]);
    let config = output::configuration(flags)?;
    output::start_logs(&config.log);
    let (summary, time) = block_on(async {
        let store = output::open_beside(&config).await?;
        let outcome = load(&store, &config, args).await;
        store.close().await;
        outcome
    })?;
    tell(&summary, time);
    output::json(&summary)?;
    let nothing = summary.accepted + summary.duplicates == 0 && summary.rejected > 0;
    anyhow::ensure!(!nothing, "every span was rejected");
    Ok(())
}

/// Also says how long it took, without the wait at the end.
async fn load(store: &Arc<dyn Store>, config: &Config, args: Args) -> anyhow::Result<(Summary, Duration)> {
    let known = store.tenants().await?;
    anyhow::ensure!(
        known.iter().any(|tenant| tenant.id == args.tenant),
        "tenant {0} does not exist; create it with: nexarch tenant create {0}",
        args.tenant
    );
    let (shift, now_ns) = (args.shift(), lifecycle::now_ns());
    let options = Options {
        shift,
        now_ns,
        retention_ns: Some(retention_ns(&store.kept().await?, config.retention, now_ns)),
        progress: true,
    };
    let append = |spans| append(Arc::clone(store), args.tenant.clone(), spans);
    let start = Instant::now();
    let outcome = import::run(args.files, options, append).await;
    // Large traces are settled here and now: what the answer counts is also what the map shows.
    let settled = settle(&**store, &args.tenant, start.elapsed()).await;
    let time = start.elapsed();
    let (flags, offset) = match &outcome {
        Ok(summary) => (summary.flags, summary.offset),
        Err(import::Error::Store { flags, offset, .. }) => (**flags, *offset),
        Err(import::Error::Crashed { offset, .. }) => (Flags::default(), *offset),
        // Nothing was stored.
        Err(import::Error::Unreadable(_)) => (Flags::default(), None),
    };
    let noted = note(&**store, args.tenant, &flags).await;
    // Only now may anything be said to be done: a server beside us has seen it. Updated spans count as known and
    // change what reads return all the same, and an import that ended early stored what came before.
    let untouched = matches!(&outcome, Ok(summary) if summary.accepted + summary.duplicates == 0);
    if !untouched {
        authority::wait_one_lease().await;
    }
    if let (Shift::ToNow, Some(offset)) = (shift, offset) {
        eprintln!("moved by {offset}; to import the same files again: --shift-by {offset}");
    }
    let summary = outcome.context("the import ended early")?;
    noted.context("the spans are stored, but what was odd about them is not counted")?;
    settled.context(LATER)?.tell();
    Ok((summary, time))
}

/// How old a span may be, nanoseconds: no older than what the server of the database keeps, which would drop it within a
/// minute, and not of a day that was dropped already.
fn retention_ns(kept: &Kept, own: Duration, now_ns: u64) -> u64 {
    if let Some(servers) = kept.spans.filter(|servers| *servers < own) {
        let days = servers.as_secs() / 86_400;
        eprintln!(
            "the server of this database keeps spans for {days} days: older ones are rejected (its RETENTION_DAYS)"
        );
    }
    let most = kept.spans.map_or(own, |servers| servers.min(own));
    let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    most.min(now_ns.saturating_sub(kept.from_ns))
}

/// How far the large traces of an import are settled.
#[derive(Debug, Default)]
struct Settled {
    /// Some are left to the server.
    later: bool,
    /// Damaged chunks that were met.
    unreadable: u64,
    /// Why traces could not be settled.
    failed: Vec<String>,
}

impl Settled {
    fn add(&mut self, round: &Settling) {
        self.unreadable += round.unreadable.iter().map(|(_, chunks)| chunks).sum::<u64>();
        self.failed.extend(round.failed.iter().map(|(_, error)| error.to_string()));
    }

    /// What a person should know of it.
    fn words(&self) -> Vec<String> {
        let failed = self
            .failed
            .iter()
            .map(|why| format!("a trace cannot be settled ({why}); the server tries again in an hour"));
        let damaged = (self.unreadable > 0).then(|| {
            format!(
                "stored spans are damaged ({} chunks); what they added to the figures stays",
                self.unreadable
            )
        });
        failed.chain(damaged).chain(self.later.then(|| LATER.to_owned())).collect()
    }

    fn tell(&self) {
        for line in self.words() {
            eprintln!("{line}");
        }
    }
}

/// Settles large traces of the tenant, as far as they wait by now. There may be very many: what is left when this took longer
/// than reading did (but for a moment) is the server's.
async fn settle(store: &dyn Store, tenant: &TenantId, reading: Duration) -> Result<Settled, StoreError> {
    let (start, by_us) = (Instant::now(), lifecycle::now_us());
    let mut settled = Settled::default();
    loop {
        let round = store.settle(by_us, Some(tenant)).await?;
        settled.add(&round);
        if !round.more {
            return Ok(settled);
        }
        if start.elapsed() > reading.max(SETTLING) {
            settled.later = true;
            return Ok(settled);
        }
    }
}

/// Adds to what diagnostics tell of the tenant.
async fn note(store: &dyn Store, tenant: TenantId, flags: &Flags) -> Result<(), StoreError> {
    let counts: Vec<_> = flags.counts().into_iter().filter(|(_, count)| *count > 0).collect();
    if counts.is_empty() { Ok(()) } else { store.note(vec![(tenant, counts)]).await }
}

async fn append(store: Arc<dyn Store>, tenant: TenantId, spans: Vec<Span>) -> Result<Stored, StoreError> {
    let mut outcomes = store.append(vec![Batch { created_us: None, tenant, spans }]).await?;
    let missing = || StoreError::Internal("no outcome for a batch".to_owned());
    let appended = outcomes.pop().ok_or_else(missing)??;
    Ok(Stored { accepted: appended.accepted, duplicates: appended.duplicates, expired: appended.expired })
}

/// For people, on stderr; the result itself goes to stdout.
fn tell(summary: &Summary, time: Duration) {
    for problem in &summary.problems {
        eprintln!("{problem}");
    }
    if summary.more_problems > 0 {
        eprintln!("… and {} more", summary.more_problems);
    }
    if let Some(hint) = summary.hint {
        eprintln!("hint: {hint}");
    }
    let counts = summary.flags.counts().into_iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    if !counts.is_empty() {
        eprintln!("diagnostics: {}", counts.join(", "));
    }
    let Summary { accepted, duplicates, rejected, .. } = summary;
    let per_second = (accepted + duplicates) as f64 / time.as_secs_f64().max(0.001);
    eprintln!(
        "{accepted} new, {duplicates} known, {rejected} rejected in {:.1} s: {per_second:.0} spans/s",
        time.as_secs_f64()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_settled_is_told() {
        let mut settled = Settled::default();
        settled.add(&Settling::default());
        assert_eq!(settled.words(), Vec::<String>::new());
        let acme: TenantId = "acme".parse().unwrap();
        let broken = StoreError::Internal("broken".to_owned());
        let round = Settling {
            failed: vec![(acme.clone(), broken)],
            unreadable: vec![(acme, 2)],
            ..Settling::default()
        };
        settled.add(&round);
        settled.later = true;
        let words = settled.words();
        assert!(words[0].contains("broken") && words[1].contains("2 chunks"), "{words:?}");
        assert_eq!(words[2..], [LATER]);
    }
}
