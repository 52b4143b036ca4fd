//! What a checkup says.

use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// What is looked at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisStep {
    /// The name resolves.
    Dns,
    /// Somebody listens.
    Tcp,
    /// Encryption, and who the other side is.
    Tls,
    /// Redis's protocol, user and password, database.
    Login,
    /// What the server says of itself.
    Server,
    /// One server or a cluster, and whether each of its primaries can be reached.
    Cluster,
    /// The commands that are needed, on keys of the namespace.
    Rights,
    /// Messages between nodes.
    Messages,
    /// Memory, and what happens when it is full.
    Memory,
    /// How long an answer takes.
    Latency,
}

impl RedisStep {
    /// Every step, in order.
    pub const ALL: [Self; 10] = [
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Login,
        Self::Server,
        Self::Cluster,
        Self::Rights,
        Self::Messages,
        Self::Memory,
        Self::Latency,
    ];

    /// Its name, as `dns`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Login => "login",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Rights => "rights",
            Self::Messages => "messages",
            Self::Memory => "memory",
            Self::Latency => "latency",
        }
    }
}

impl fmt::Display for RedisStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, not as well as it could.
    Warning,
    /// It does not work.
    Bad,
    /// Not looked at, because of an earlier step.
    Skipped,
}

/// A mistake that is recognised, so that a program can say what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisMistake {
    /// A configuration that cannot work.
    Configuration,
    /// The name does not resolve.
    UnknownName,
    /// Nobody listens on the port.
    NobodyListens,
    /// No answer at all: a firewall, or no route.
    Dropped,
    /// TLS towards a port that speaks plain Redis.
    PlainPort,
    /// No TLS towards a port that wants it.
    TlsPort,
    /// Neither TLS nor Redis answers.
    NotRedis,
    /// The certificate was issued for another name.
    WrongName,
    /// The certificate's authority is not trusted, or the file of trusted ones cannot be used.
    Authority,
    /// The certificate is expired or not valid yet, by this machine's clock.
    Clock,
    /// TLS failed in another way.
    Tls,
    /// A password is wanted and none is given.
    NoPassword,
    /// User and password do not fit.
    WrongPassword,
    /// The same, and the password looks percent-encoded.
    EncodedPassword,
    /// No token was given by whoever gives them.
    NoToken,
    /// The server does not take the token.
    WrongToken,
    /// The database number does not exist here.
    Database,
    /// The server takes no more connections.
    TooManyClients,
    /// The server is starting, or cannot answer now.
    NotReady,
    /// A cluster, and only one server was expected.
    ClusterAsOne,
    /// No cluster, and one was expected.
    NoCluster,
    /// A primary of the cluster cannot be reached.
    NodeAway,
    /// A command is refused that is needed.
    NeededCommand,
    /// A command is refused that one feature needs.
    OptionalCommand,
    /// Writes are refused because memory is full.
    Full,
    /// Writes are refused because it is a replica.
    ReadOnly,
    /// Messages do not come back.
    NoMessages,
    /// Nothing is ever evicted.
    NoEviction,
    /// Answers take long.
    Slow,
}

/// What was found in one step. Holds no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisFinding {
    /// What was looked at.
    pub step: RedisStep,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
    /// What was found, in words.
    pub detail: String,
    /// The mistake, when it is a known one.
    pub mistake: Option<RedisMistake>,
}

/// What a step has to say.
pub(super) struct Told {
    verdict: Verdict,
    detail: String,
    mistake: Option<RedisMistake>,
}

impl Told {
    pub(super) fn good(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, detail: detail.into(), mistake: None }
    }

    pub(super) fn warning(mistake: RedisMistake, detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, detail: detail.into(), mistake: Some(mistake) }
    }

    pub(super) fn bad(mistake: RedisMistake, detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, detail: detail.into(), mistake: Some(mistake) }
    }
}

#[derive(Default)]
pub(super) struct Report {
    findings: Vec<RedisFinding>,
}

impl Report {
    /// Takes a step: notes what it says, and hands on what the next ones need.
    pub(super) async fn take<T>(
        &mut self,
        step: RedisStep,
        work: impl Future<Output = (Told, Option<T>)>,
    ) -> Option<T> {
        let began = Instant::now();
        let (told, gained) = work.await;
        self.add(step, began.elapsed(), told);
        gained
    }

    pub(super) fn add(&mut self, step: RedisStep, took: Duration, told: Told) {
        let Told { verdict, detail, mistake } = told;
        self.findings.push(RedisFinding { step, verdict, took, detail, mistake });
    }

    /// All steps, those without a finding as skipped.
    pub(super) fn finish(mut self) -> Vec<RedisFinding> {
        for step in RedisStep::ALL {
            if !self.findings.iter().any(|finding| finding.step == step) {
                self.findings.push(RedisFinding {
                    step,
                    verdict: Verdict::Skipped,
                    took: Duration::ZERO,
                    detail: "needs the steps before".to_owned(),
                    mistake: None,
                });
            }
        }
        self.findings
    }
}
