//! One connection, logged in, with its driver on the tracker.

use super::failure::{Failure, is_full, of_handshake, of_refusal};
use super::renewal::{Renewal, outlived, renew};
use super::socket::{self, Target};
use super::tls::Tls;
use super::token::RedisToken;
use super::wire::{Request, Unanswered, Wire};
use crate::remote::Reason;
use crate::sync::lock;
use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSub, SendError};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
};
use redis::{RedisError, RedisResult, Value, cmd};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
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
    /// Tokens in place of a password.
    tokens: Option<Arc<Renewal>>,
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

/// Takes messages as they arrive. It runs in the connection's driver and must not wait.
pub(super) type OnMessage = Arc<dyn Fn(Bytes) + Send + Sync>;

/// A connection on which messages of one channel arrive.
pub(super) struct Ear {
    gone: CancellationToken,
    /// Ends it when dropped.
    _stop: DropGuard,
    /// Where messages come between answers: it ends with the last of those who may ask.
    _connection: Option<MultiplexedConnection>,
}

impl Ear {
    /// Waits until it has ended, from either side.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

/// A connection that any number of calls share.
pub(super) struct Link {
    wire: Wire,
    /// Calls in a row that were not answered, and the key of the first: answers come in order, so it is what the others
    /// wait behind.
    silent: AtomicU64,
    suspect: Mutex<Option<String>>,
    /// It was ended for a better one, and not because it is silent.
    outdated: AtomicBool,
    stop: CancellationToken,
    gone: CancellationToken,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("tls", &self.tls.is_some())
            .field("db", &self.db)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("gone", &self.gone.is_cancelled()).finish_non_exhaustive()
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
        self.in_time(target, self.greet(target, stop)).await
    }

    /// Connects, logs in and subscribes to `channel`, within the connect timeout. The connection ends with `stop`.
    pub(super) async fn listen(
        &self,
        target: &Target,
        stop: &CancellationToken,
        channel: &str,
        on_message: OnMessage,
    ) -> Result<Ear, Failure> {
        self.in_time(target, self.subscribe(target, stop, channel, on_message)).await
    }

    async fn in_time<T>(
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
        }
        let link = self.open(target, stop, ProtocolVersion::RESP2).await;
        let link = link.map_err(|dialed| self.failure(dialed))?;
        if asks {
            self.note_old();
        }
        Ok(link)
    }

    /// Messages as pushes, where the server takes `HELLO 3`; else on a connection that does nothing else.
    async fn subscribe(
        &self,
        target: &Target,
        stop: &CancellationToken,
        channel: &str,
        on_message: OnMessage,
    ) -> Result<Ear, Failure> {
        let asks = !self.is_old();
        if asks {
            let receiver = Arc::clone(&on_message);
            match self.open_for_pushes(target, stop, move |push| receive(&receiver, push)).await {
                Ok((ear, mut connection)) => {
                    connection.subscribe(channel).await.map_err(|error| refused(channel, &error))?;
                    return Ok(Ear { _connection: Some(connection), ..ear });
                }
                Err(Dialed::Greeted(error)) if knows_no_hello(&error) => {}
                Err(dialed) => return Err(self.failure(dialed)),
            }
        }
        let token = self.token().await?;
        let stream = socket::open(target, self.tls.as_ref()).await;
        let stream = stream.map_err(|failure| self.failure(Dialed::Failed(failure)))?;
        let connected = PubSub::new(&self.login(ProtocolVersion::RESP2, token.as_deref()), stream).await;
        let mut connection = connected.map_err(|error| self.failure(Dialed::Greeted(error)))?;
        connection.subscribe(channel).await.map_err(|error| refused(channel, &error))?;
        if asks {
            self.note_old();
        }
        let (stop, gone) = (stop.child_token(), CancellationToken::new());
        let ear = Ear { gone: gone.clone(), _stop: stop.clone().drop_guard(), _connection: None };
        let outlived = outlived(token, self.tokens.as_ref().map(|tokens| tokens.watch()));
        self.tracker.spawn(async move {
            let _gone = gone.drop_guard();
            let mut messages = connection.into_on_message();
            let listen = async {
                while let Some(message) = messages.next().await {
                    on_message(Bytes::copy_from_slice(message.get_payload_bytes()));
                }
            };
            // In the old protocol a connection that listens cannot log in anew: it is made anew.
            tokio::select! {
                () = stop.cancelled() => {}
                () = outlived => {}
                () = listen => {}
            }
        });
        Ok(ear)
    }

    /// A server was proved.
    pub(super) fn note_spoke(&self) {
        self.spoke.store(true, Ordering::Relaxed);
    }

    fn failure(&self, dialed: Dialed) -> Failure {
        let failure = match dialed {
            Dialed::Failed(failure) => failure,
            Dialed::Greeted(error) => of_handshake(&error),
        };
        if self.spoke.load(Ordering::Relaxed) { failure.of_one_that_spoke() } else { failure }
    }

    /// Whether `HELLO` is not to be tried now.
    fn is_old(&self) -> bool {
        self.no_hello || lock(&self.old).is_some_and(|since| since.elapsed() < OLD)
    }

    fn note_old(&self) {
        *lock(&self.old) = Some(Instant::now());
    }

    /// A connection of the client library's, which tells pushes and answers apart.
    async fn open_for_pushes(
        &self,
        target: &Target,
        stop: &CancellationToken,
        receive: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<(Ear, MultiplexedConnection), Dialed> {
        let token = self.token().await.map_err(Dialed::Failed)?;
        let stream = socket::open(target, self.tls.as_ref()).await.map_err(Dialed::Failed)?;
        // Deadlines are the callers', the connect timeout is the dialer's.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let config = config.set_push_sender(move |push: PushInfo| {
            receive(push);
            Ok::<_, SendError>(())
        });
        let login = self.login(ProtocolVersion::RESP3, token.as_deref());
        let connected = MultiplexedConnection::new_with_config(&login, stream, config).await;
        let (mut connection, driver) = connected.map_err(Dialed::Greeted)?;
        let (stop, gone) = (stop.child_token(), CancellationToken::new());
        let ear = Ear { gone: gone.clone(), _stop: stop.clone().drop_guard(), _connection: None };
        let ending = stop.clone();
        self.tracker.spawn(async move {
            let _gone = gone.drop_guard();
            stop.run_until_cancelled(driver).await;
        });
        if let (Some(token), Some(tokens)) = (token, &self.tokens) {
            let (connection, limit) = (connection.clone(), self.timeout);
            let send = move |auth: Cmd| {
                let mut connection = connection.clone();
                async move {
                    let answer = timeout(limit, connection.send_packed_command(&auth)).await;
                    matches!(answer.map(|answer| answer.and_then(Value::extract_error)), Ok(Ok(_)))
                }
            };
            self.tracker.spawn(renew(token, tokens.watch(), ending, send));
        }
        if let Some(set_name) = self.introduction() {
            let _ = connection.send_packed_command(&set_name).await;
        }
        Ok((ear, connection))
    }

    async fn open(
        &self,
        target: &Target,
        stop: &CancellationToken,
        protocol: ProtocolVersion,
    ) -> Result<Link, Dialed> {
        let token = self.token().await.map_err(Dialed::Failed)?;
        let stream = socket::open(target, self.tls.as_ref()).await.map_err(Dialed::Failed)?;
        let (wire, driver) = Wire::new(stream);
        let (stop, gone) = (stop.child_token(), CancellationToken::new());
        let link = Link {
            wire,
            silent: AtomicU64::new(0),
            suspect: Mutex::default(),
            outdated: AtomicBool::new(false),
            stop: stop.clone(),
            gone: gone.clone(),
        };
        self.tracker.spawn(async move {
            // Also when the driver panics: a connection without driver answers nobody.
            let _gone = gone.drop_guard();
            stop.run_until_cancelled(driver).await;
        });
        self.log_in(&link, protocol, token.as_deref()).await.map_err(Dialed::Greeted)?;
        if let (Some(token), Some(tokens)) = (token, &self.tokens) {
            self.tracker.spawn(link.keep_logged_in(token, tokens.watch(), self.timeout));
        }
        if let Some(set_name) = self.introduction() {
            let _ = link.ask(&set_name).await;
        }
        Ok(link)
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
    fn introduction(&self) -> Option<Cmd> {
        let mut set_name = cmd("CLIENT");
        set_name.arg("SETNAME").arg(self.client_name.as_ref()?);
        Some(set_name)
    }

    /// The token to log in with, as soon as there is one; whoever dials has a limit.
    async fn token(&self) -> Result<Option<Arc<RedisToken>>, Failure> {
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

    fn login(&self, protocol: ProtocolVersion, token: Option<&RedisToken>) -> RedisConnectionInfo {
        // CLIENT SETINFO is newer than Redis 6.0.
        let mut login = RedisConnectionInfo::default().set_protocol(protocol).set_skip_set_lib_name();
        let (username, password) = self.credentials(token);
        if let Some(username) = username {
            login = login.set_username(username);
        }
        if let Some(password) = password {
            login = login.set_password(password);
        }
        login.set_db(i64::from(self.db))
    }
}

enum Dialed {
    Failed(Failure),
    Greeted(RedisError),
}

/// Whether `HELLO 3` alone was refused. A server that is full says `ERR`, too: to ask again would only fill it more.
fn knows_no_hello(error: &RedisError) -> bool {
    let unknown = || error.detail().is_some_and(|text| text.to_ascii_lowercase().contains("unknown command"));
    match error.code() {
        Some("NOPROTO" | "NOPERM") => true,
        Some("ERR") => unknown(),
        _ => error.kind() == ErrorKind::RESP3NotSupported,
    }
}

fn refused(channel: &str, error: &RedisError) -> Failure {
    let detail = format!("SUBSCRIBE {channel}: {}", error.code().unwrap_or("no answer"));
    Failure::new(of_refusal(error).unwrap_or(Reason::Protocol), detail)
}

fn receive(on_message: &OnMessage, push: PushInfo) {
    if push.kind == PushKind::Message
        && let Some(Value::BulkString(body)) = push.data.into_iter().nth(1)
    {
        on_message(body.into());
    }
}

impl Link {
    /// Sends a command and waits for its answer, for as long as it takes.
    pub(super) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        self.wire.ask(command).await
    }

    /// Sends a command and waits for its answer within `limit`. An answer may be a refusal.
    pub(super) async fn call(&self, request: Request<'_>, limit: Duration) -> Result<Value, Unanswered> {
        self.wire.call(request, Some(limit)).await
    }

    /// Calls that were not answered in time and were not told of, because their callers had hung up.
    pub(super) fn unheard(&self) -> u64 {
        self.wire.unheard()
    }

    /// See [`renew()`].
    fn keep_logged_in(
        &self,
        used: Arc<RedisToken>,
        current: watch::Receiver<Option<Arc<RedisToken>>>,
        limit: Duration,
    ) -> impl Future<Output = ()> + Send + 'static {
        let wire = self.wire.clone();
        let send = move |auth: Cmd| {
            let wire = wire.clone();
            async move {
                let answer = wire.call(Request::of(&auth), Some(limit)).await;
                matches!(answer.map(Value::extract_error), Ok(Ok(_)))
            }
        };
        renew(used, current, self.stop.clone(), send)
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        if self.silent.load(Ordering::Relaxed) > 0 {
            self.silent.store(0, Ordering::Relaxed);
        }
    }

    /// A call for `key` was not answered in time; returns how many in a row were not.
    pub(super) fn unanswered(&self, key: Option<&str>) -> u64 {
        let before = self.silent.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            *lock(&self.suspect) = key.map(str::to_owned);
        }
        before + 1
    }

    /// The key of the first call in a row that was not answered.
    pub(super) fn suspect(&self) -> Option<String> {
        lock(&self.suspect).clone()
    }

    /// Ends it: whoever waits for an answer gets an error at once.
    pub(super) fn cut(&self) {
        self.stop.cancel();
    }

    /// Ends it although it works: another one may lead elsewhere.
    pub(super) fn renew(&self) {
        self.outdated.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Whether it was ended from this side.
    pub(super) fn is_cut(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether it was ended from this side because it is of no use.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_cut() && !self.outdated.load(Ordering::Relaxed)
    }

    /// Whether it has ended, from either side.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Waits until it has ended, from either side.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
