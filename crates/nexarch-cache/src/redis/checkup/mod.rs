//! Looks at a Redis the way an operator would who has to find out why it does not work: one step after the other, each
//! timed, each with what was found, and the usual mistakes recognised.

mod facts;
mod finding;
mod nodes;
mod reach;
mod rights;
mod talk;

pub use finding::{RedisFinding, RedisMistake, RedisStep, Verdict};

use super::config::RedisConfig;
use super::dialer::Dialer;
use super::socket::Target;
use super::tls::Tls;
use finding::{Report, Told};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long one command may take here; whether calls would wait that long is a step of its own.
const ANSWER: Duration = Duration::from_secs(1);

/// What all steps need.
struct Patient<'a> {
    config: &'a RedisConfig,
    endpoint: Target,
    tls: Option<Tls>,
    dialer: Dialer,
    /// Ends every connection that was made.
    stop: CancellationToken,
}

impl RedisConfig {
    /// Looks at the Redis that this configuration names, step by step: DNS, TCP, TLS, login, what the server is, its
    /// cluster, rights, messages, memory, round trips. There is one finding for each [`RedisStep`], in their order; what
    /// cannot be looked at because an earlier step failed is [`Verdict::Skipped`].
    ///
    /// It writes one key per server, `{namespace}:canary…`, for a second, and publishes one short message that nobody
    /// takes for anything. No finding holds a secret. Connections run on `tracker` and are closed at the end.
    ///
    /// ```no_run
    /// use nexarch_cache::{RedisConfig, Verdict};
    /// use tokio_util::task::TaskTracker;
    ///
    /// # async fn example() -> Result<(), nexarch_cache::RedisConfigError> {
    /// let config = RedisConfig::from_url("localhost:6379,password=secret")?;
    /// for finding in config.check_up(&TaskTracker::new()).await {
    ///     println!("{}: {:?} ({:?}) {}", finding.step, finding.verdict, finding.took, finding.detail);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check_up(&self, tracker: &TaskTracker) -> Vec<RedisFinding> {
        let mut report = Report::default();
        if let Err(error) = self.check() {
            report.add(
                RedisStep::Dns,
                Duration::ZERO,
                Told::bad(RedisMistake::Configuration, error.to_string()),
            );
            return report.finish();
        }
        let (tls, wrong) = match Tls::loaded(self) {
            Ok(tls) => (tls, None),
            Err(error) => (None, Some(Told::bad(RedisMistake::Authority, error.to_string()))),
        };
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let endpoint = Target {
            host: self.effective_host().to_owned(),
            port: self.effective_port(),
            certificate_name: self.effective_certificate_name().to_owned(),
        };
        let dialer = Dialer::new(self, tls.clone(), tracker.clone());
        if let (Some(renewal), Some(tokens)) = (dialer.renewal(), &self.tokens) {
            tracker.spawn(Arc::clone(renewal).run(tokens.clone(), stop.clone()));
        }
        let patient = Patient { config: self, endpoint, tls, dialer, stop };
        // On the heap: with all its steps it is larger than a stack of callers should carry.
        Box::pin(examine(&patient, wrong, &mut report)).await;
        report.finish()
    }
}

/// Goes on until a step is needed by all that follow and has failed.
async fn examine(patient: &Patient<'_>, tls_is_wrong: Option<Told>, report: &mut Report) -> Option<()> {
    let addresses = report.take(RedisStep::Dns, reach::resolve(patient)).await?;
    let socket = report.take(RedisStep::Tcp, reach::connect(patient, &addresses)).await?;
    if let Some(told) = tls_is_wrong {
        report.add(RedisStep::Tls, Duration::ZERO, told);
        return None;
    }
    report.take(RedisStep::Tls, reach::handshake(patient, socket)).await?;
    let link = report.take(RedisStep::Login, talk::login(patient)).await?;
    let info = report.take(RedisStep::Server, facts::server(patient, &link)).await;
    let nodes = report.take(RedisStep::Cluster, nodes::all(patient, link)).await?;
    report.take(RedisStep::Rights, rights::all(patient, &nodes)).await;
    report.take(RedisStep::Messages, talk::messages(patient, &nodes)).await;
    report.take(RedisStep::Memory, async { facts::memory(info.as_deref()) }).await;
    report.take(RedisStep::Latency, talk::latency(patient, &nodes)).await;
    Some(())
}
