//! What went wrong, in two languages: a word for health and calls, a text for the operator. Neither holds a secret.

use crate::remote::{Reason, RemoteError};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use std::fmt;
use std::io;

/// Why a connection could not be made or used.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) detail: String,
    /// The first word of the server's refusal, as `WRONGPASS`.
    pub(super) code: Option<String>,
    /// The peer ended the connection before it said anything.
    wordless: bool,
}

impl Failure {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), code: None, wordless: false }
    }

    /// The peer said nothing, so why it ended the connection is a guess.
    pub(super) fn wordless(self) -> Self {
        Self { wordless: true, ..self }
    }

    /// As it is to be told where servers spoke Redis under the same settings before: one that ends connections without a
    /// word then is on its way out, or not up yet, and wants nothing else than it did.
    pub(super) fn of_one_that_spoke(self) -> Self {
        if !self.wordless {
            return self;
        }
        Self::new(
            Reason::Refused,
            "new connections are ended before they are answered; they were answered before",
        )
    }

    /// Whether waiting alone cannot help, so that there is no haste to try again.
    pub(super) fn is_hopeless(&self) -> bool {
        matches!(self.reason, Reason::Auth | Reason::Tls)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// The word for an error of a socket.
pub(super) fn of_io(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Reason::Timeout
        }
        _ => Reason::Refused,
    }
}

/// What a server's refusal means. `None` for answers that say nothing of its state.
pub(super) fn of_refusal(error: &RedisError) -> Option<Reason> {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED")) => {
            Some(Reason::Auth)
        }
        (_, Some("OOM")) => Some(Reason::Oom),
        (_, Some("READONLY" | "NOREPLICAS" | "MISCONF")) => Some(Reason::Readonly),
        // Alive, and not ready, or not the one to ask: as if the connection were not there yet.
        (_, Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" | "MOVED" | "ASK")) => {
            Some(Reason::Connecting)
        }
        _ if is_full(error) => Some(Reason::Refused),
        _ => None,
    }
}

/// Whether the server has no place for another connection. It says so before it reads anything, so that it looks like the
/// answer to whatever was sent first.
pub(super) fn is_full(error: &RedisError) -> bool {
    error.code() == Some("ERR")
        && error.detail().is_some_and(|text| text.starts_with("max number of clients"))
}

/// Why a handshake failed.
pub(super) fn of_handshake(error: &RedisError) -> Failure {
    if let Some(reason) = of_refusal(error) {
        let code = error.code().unwrap_or("AUTH");
        let failure = Failure::new(reason, format!("the server refuses the connection: {code}"));
        return Failure { code: Some(code.to_owned()), ..failure };
    }
    let failure = match error.kind() {
        ErrorKind::Io => Failure::new(
            Reason::Protocol,
            "the connection was closed before the first answer; does this port want TLS, or is it not Redis?",
        )
        .wordless(),
        // The texts of other errors may repeat what the peer sent; their kinds do not.
        ErrorKind::Parse => Failure::new(Reason::Protocol, "the answer is not Redis's protocol"),
        ErrorKind::Server(ServerErrorKind::ResponseError) => Failure::new(
            Reason::Protocol,
            "the server refuses the first commands; is the database number right?",
        ),
        kind => Failure::new(Reason::Protocol, format!("the first answer makes no sense ({kind:?})")),
    };
    Failure { code: error.code().map(str::to_owned), ..failure }
}

/// What a call makes of an error that came as an answer or in place of one.
pub(super) fn of_call(error: &RedisError) -> RemoteError {
    if let Some(reason) = of_refusal(error) {
        return RemoteError::Refused(reason);
    }
    match error.kind() {
        ErrorKind::Io => RemoteError::Broken(Reason::Refused),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => RemoteError::Broken(Reason::Protocol),
        _ => RemoteError::Refused(Reason::Protocol),
    }
}

/// An error of a call, with what the server said, which routing needs.
#[derive(Debug)]
pub(super) struct RedisFailure {
    pub(super) error: RemoteError,
    answer: Option<RedisError>,
}

impl RedisFailure {
    /// Whether there is something under the key that is not a value.
    pub(super) fn is_foreign(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.code() == Some("WRONGTYPE"))
    }

    /// The first word of the server's refusal, as `READONLY`.
    pub(super) fn code(&self) -> Option<&str> {
        self.answer.as_ref()?.code()
    }

    /// Why the server may be of no use for this key and for all others, although it answers: it says that it may not be
    /// read, or that it is not ready. One that knows another for the key is.
    pub(super) fn shuts_out(&self) -> Option<Reason> {
        match self.error {
            RemoteError::Refused(reason @ (Reason::Auth | Reason::Connecting)) => {
                self.redirection().is_none().then_some(reason)
            }
            _ => None,
        }
    }

    /// Where the server sends the caller, and whether only for this once.
    pub(super) fn redirection(&self) -> Option<(&str, bool)> {
        let answer = self.answer.as_ref()?;
        let (address, _) = answer.redirect_node()?;
        Some((address, answer.kind() == ErrorKind::Server(ServerErrorKind::Ask)))
    }
}

impl From<RemoteError> for RedisFailure {
    fn from(error: RemoteError) -> Self {
        Self { error, answer: None }
    }
}

impl From<RedisError> for RedisFailure {
    fn from(answer: RedisError) -> Self {
        Self { error: of_call(&answer), answer: Some(answer) }
    }
}
