//! What every connection needs to come about, and how it does: opened, greeted, logged in.

use super::failure::{Failure, is_full, of_handshake};
use super::gate::Gate;
use super::link::Link;
use super::renewal::Renewal;
use super::socket::{self, Names, Target};
use super::tls::Tls;
use super::token::RedisToken;
use super::wire::{OnMessage, Wire};
use crate::remote::Reason;
use crate::sync::lock;
use redis::{Cmd, ErrorKind, ProtocolVersion, RedisError, RedisResult, cmd};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What every connection needs to know to come about.
pub(super) struct Dialer {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: u32,
    pub(super) tls: Option<Tls>,
    pub(super) timeout: Duration,
    pub(super) tracker: TaskTracker,
    client_name: Option<String>,
    pub(super) gate: Gate,
    pub(super) names: Names,
    /// Tokens in place of a password.
    pub(super) tokens: Option<Arc<Renewal>>,
    /// Values go over RESP2, as the user says.
    resp2: bool,
    /// `HELLO` is not to be sent.
    no_hello: bool,
    /// When the server refused `HELLO`.
    old: Mutex<Option<Instant>>,
    /// A server was proved under these settings.
    spoke: AtomicBool,
}

/// How long a server that refused `HELLO` is not asked again: it may be replaced by a newer one behind its name.
const OLD: Duration = Duration::from_mins(5);

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("tls", &self.tls.is_some())
            .field("db", &self.db)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    pub(super) fn new(config: &super::config::RedisConfig, tls: Option<Tls>, tracker: TaskTracker) -> Self {
        Self {
            username: config.username.clone(),
            password: config.password.clone(),
            db: config.db,
            tls,
            timeout: config.connect_timeout,
            tracker,
            tokens: config.tokens.as_ref().map(|_| Renewal::new()),
            gate: Gate::new(u32::try_from(config.connections).unwrap_or(u32::MAX - 1) + 1),
            names: config.names.clone(),
            client_name: config.client_name.clone().filter(|_| config.may("CLIENT")),
            resp2: config.resp2,
            no_hello: !config.may("HELLO"),
            old: Mutex::default(),
            spoke: AtomicBool::new(false),
        }
    }

    /// Whether the connections for values speak RESP3, as far as it is known yet.
    pub(super) fn speaks_resp3(&self) -> bool {
        !self.resp2 && !self.is_old()
    }

    /// Connects and logs in, within the connect timeout. The connection ends with `stop`.
    pub(super) async fn dial(&self, target: &Target, stop: &CancellationToken) -> Result<Link, Failure> {
        self.gate.pass(target).await;
        self.in_time(target, self.greet(target, stop)).await
    }

    pub(super) async fn in_time<T>(
        &self,
        target: &Target,
        dial: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(self.timeout, dial).await.unwrap_or_else(|_| {
            let detail = format!("{target:?} did not answer within {:?}", self.timeout);
            Err(Failure::new(Reason::Timeout, detail))
        })
    }

    /// `HELLO 3` with the credentials; where the server does not take it, `AUTH`.
    async fn greet(&self, target: &Target, stop: &CancellationToken) -> Result<Link, Failure> {
        let asks = self.speaks_resp3();
        if asks {
            match self.open(target, stop, ProtocolVersion::RESP3).await {
                Err(Dialed::Greeted(error)) if knows_no_hello(&error) => {}
                dialed => return dialed.map_err(|dialed| self.failure(dialed)),
            }
            self.gate.pass(target).await;
        }
        let link = self.open(target, stop, ProtocolVersion::RESP2).await;
        let link = link.map_err(|dialed| self.failure(dialed))?;
        if asks {
            self.note_old();
        }
        Ok(link)
    }

    /// A server was proved.
    pub(super) fn note_spoke(&self) {
        self.spoke.store(true, Ordering::Relaxed);
    }

    pub(super) fn failure(&self, dialed: Dialed) -> Failure {
        let failure = match dialed {
            Dialed::Failed(failure) => failure,
            Dialed::Greeted(error) => of_handshake(&error),
        };
        if self.spoke.load(Ordering::Relaxed) { failure.of_one_that_spoke() } else { failure }
    }

    /// Whether `HELLO` is not to be tried now.
    pub(super) fn is_old(&self) -> bool {
        self.no_hello || lock(&self.old).is_some_and(|since| since.elapsed() < OLD)
    }

    pub(super) fn note_old(&self) {
        *lock(&self.old) = Some(Instant::now());
    }

    async fn open(
        &self,
        target: &Target,
        stop: &CancellationToken,
        protocol: ProtocolVersion,
    ) -> Result<Link, Dialed> {
        let (link, token) = self.connect(target, stop, protocol, None).await?;
        self.keep_logged_in(&link, token);
        Ok(link)
    }

    /// A connection that is logged in, and by which token. With `on_message` it is one for messages.
    pub(super) async fn connect(
        &self,
        target: &Target,
        stop: &CancellationToken,
        protocol: ProtocolVersion,
        on_message: Option<OnMessage>,
    ) -> Result<(Link, Option<Arc<RedisToken>>), Dialed> {
        let token = self.token().await.map_err(Dialed::Failed)?;
        let stream = socket::open(target, self.tls.as_ref(), &self.names).await.map_err(Dialed::Failed)?;
        let (wire, driver) = Wire::new(stream, on_message);
        let link = Link::new(wire, stop);
        self.tracker.spawn(link.drive(driver));
        self.log_in(&link, protocol, token.as_deref()).await.map_err(Dialed::Greeted)?;
        if let Some(set_name) = self.introduction() {
            let _ = link.ask(&set_name).await;
        }
        Ok((link, token))
    }

    pub(super) fn keep_logged_in(&self, link: &Link, token: Option<Arc<RedisToken>>) {
        if let (Some(token), Some(tokens)) = (token, &self.tokens) {
            let user = self.username.clone();
            self.tracker.spawn(link.keep_logged_in(token, tokens.watch(), user, self.timeout));
        }
    }

    /// Nothing that is newer than Redis 6.0, and nothing but what is needed.
    async fn log_in(
        &self,
        link: &Link,
        protocol: ProtocolVersion,
        token: Option<&RedisToken>,
    ) -> RedisResult<()> {
        if protocol == ProtocolVersion::RESP2 {
            self.authenticate(link, token).await?;
        } else {
            let mut hello = cmd("HELLO");
            hello.arg(3);
            if let (username, Some(password)) = self.credentials(token) {
                // HELLO has no form without a user; this is the one that a password alone is of.
                hello.arg("AUTH").arg(username.unwrap_or("default")).arg(password);
            }
            link.ask(&hello).await?;
        }
        if self.db != 0 {
            link.ask(cmd("SELECT").arg(self.db)).await?;
        }
        Ok(())
    }

    /// User and password, or token.
    fn credentials<'a>(&'a self, token: Option<&'a RedisToken>) -> (Option<&'a str>, Option<&'a str>) {
        let username = self.username.as_deref().or(token.map(|token| token.user.as_str()));
        let password = token.map_or(self.password.as_deref(), |token| Some(token.secret.as_str()));
        (username, password)
    }

    async fn authenticate(&self, link: &Link, token: Option<&RedisToken>) -> RedisResult<()> {
        let (username, Some(password)) = self.credentials(token) else { return Ok(()) };
        let mut auth = cmd("AUTH");
        if let Some(username) = username {
            auth.arg(username);
        }
        let mut answer = link.ask(auth.arg(password)).await;
        let counts = |error: &RedisError| {
            error.detail().is_some_and(|text| text.contains("wrong number of arguments"))
        };
        if username.is_some() && answer.as_ref().is_err_and(counts) {
            // Before Redis 6 there are no users.
            answer = link.ask(cmd("AUTH").arg(password)).await;
        }
        match answer {
            // Old servers say only `ERR`.
            Err(error) if error.code() == Some("ERR") && !is_full(&error) => {
                Err((ErrorKind::AuthenticationFailed, "the password is refused").into())
            }
            answer => answer.map(drop),
        }
    }

    /// A name for `CLIENT LIST`. Only people need it: a server that refuses the command is as good as any.
    pub(super) fn introduction(&self) -> Option<Cmd> {
        let mut set_name = cmd("CLIENT");
        set_name.arg("SETNAME").arg(self.client_name.as_ref()?);
        Some(set_name)
    }

    /// The token to log in with, as soon as there is one; whoever dials has a limit.
    pub(super) async fn token(&self) -> Result<Option<Arc<RedisToken>>, Failure> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        let mut current = tokens.watch();
        // Within the limit of dialing, so that the reason is told.
        let waited = tokio::time::timeout(self.timeout.mul_f64(0.9), current.wait_for(Option::is_some)).await;
        if let Ok(Ok(token)) = waited {
            return Ok(token.clone());
        }
        let why = tokens.problem().unwrap_or_else(|| "the first one is not there yet".to_owned());
        Err(Failure::new(Reason::Auth, format!("no token: {why}")))
    }

    /// The task that keeps tokens good, when there are to be any. Run it on the tracker until `stop`.
    pub(super) fn renewal(&self) -> Option<&Arc<Renewal>> {
        self.tokens.as_ref()
    }
}

/// Why a connection did not come about.
pub(super) enum Dialed {
    Failed(Failure),
    Greeted(RedisError),
}

/// Whether `HELLO 3` alone was refused. A server that is full says `ERR`, too: to ask again would only fill it more.
pub(super) fn knows_no_hello(error: &RedisError) -> bool {
    let unknown = || error.detail().is_some_and(|text| text.to_ascii_lowercase().contains("unknown command"));
    match error.code() {
        Some("NOPROTO" | "NOPERM") => true,
        Some("ERR") => unknown(),
        _ => error.kind() == ErrorKind::RESP3NotSupported,
    }
}
