//! Looks at everything that a server needs, one thing after the other, and says what to change.

mod advice;
mod database;
mod redis;

use std::{path::Path, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use crate::config::{self, Config, Sources};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// It works, not as well as it could.
    Warning,
    /// It does not work.
    Failed,
    /// Not looked at.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    /// What, such as `redis.login`.
    pub(crate) name: String,
    pub(crate) status: Status,
    /// How long it took (milliseconds).
    pub(crate) ms: f64,
    /// What was found.
    pub(crate) detail: String,
    /// What to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

impl Check {
    fn new(name: impl Into<String>, status: Status, took: Duration, detail: impl Into<String>) -> Self {
        let micros = (took.as_secs_f64() * 1e6).round();
        Self { name: name.into(), status, ms: micros / 1e3, detail: detail.into(), advice: None }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Checks configuration, database and Redis of a server that would be started in `folder`. Holds no secret.
pub(crate) async fn examine(folder: &Path) -> Vec<Check> {
    let began = Instant::now();
    let mut sources = Sources::of_process(std::collections::BTreeMap::new(), folder);
    sources.resolve().await;
    let loaded = config::load(&sources);
    let took = began.elapsed();
    let config = match loaded {
        Ok(config) => config,
        Err(problems) => return unusable(&problems.0, took),
    };
    let mut checks = configuration(&config, took);
    checks.push(database::check(&config).await);
    checks.extend(redis::check(&config.cache).await);
    checks
}

fn configuration(config: &Config, took: Duration) -> Vec<Check> {
    let set = config.shown.iter().filter(|(_, _, origin)| origin != "default").count();
    let detail = format!("{set} variables are set; `nexarch serve --print-config` shows all");
    let first = Check::new("configuration", Status::Ok, took, detail);
    let warned = config
        .warnings
        .iter()
        .map(|warning| Check::new("configuration", Status::Warning, Duration::ZERO, warning.clone()));
    std::iter::once(first).chain(warned).collect()
}

/// Without a configuration there is nothing to look at.
fn unusable(problems: &[String], took: Duration) -> Vec<Check> {
    let wrong = problems.iter().map(|problem| {
        Check::new("configuration", Status::Failed, took, problem.clone())
            .advise("Change or remove it; .env.example lists every variable with its form.")
    });
    let skipped = ["database", "redis"]
        .map(|name| Check::new(name, Status::Skipped, Duration::ZERO, "needs a configuration"));
    wrong.chain(skipped).collect()
}
