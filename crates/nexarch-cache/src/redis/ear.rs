//! A connection on which messages arrive.

use super::dialer::{Dialed, Dialer, knows_no_hello};
use super::failure::{Failure, of_refusal};
use super::renewal::{outlived, renew};
use super::socket::{self, Target};
use crate::remote::Reason;
use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSub, SendError};
use redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, Value,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Takes messages as they arrive. It runs in the connection's driver and must not wait.
///
/// It gets the channel's name and the message.
pub(super) type OnMessage = Arc<dyn Fn(&[u8], Bytes) + Send + Sync>;

/// How long the server may take to grant a channel that is merely welcome.
const WELCOME: Duration = Duration::from_secs(1);

/// What is listened to.
#[derive(Clone, Copy)]
pub(super) struct Channels<'a> {
    /// Without it the connection is of no use.
    pub(super) needed: &'a str,
    /// Listened to where the server grants it. Rights mostly do not.
    pub(super) welcome: Option<&'a str>,
}

/// A connection on which messages arrive.
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

impl Dialer {
    /// Connects, logs in and subscribes, within the connect timeout. The connection ends with `stop`.
    pub(super) async fn listen(
        &self,
        target: &Target,
        stop: &CancellationToken,
        channels: Channels<'_>,
        on_message: OnMessage,
    ) -> Result<Ear, Failure> {
        self.gate.pass(target).await;
        self.in_time(target, self.subscribe(target, stop, channels, on_message)).await
    }

    /// Messages as pushes, where the server takes `HELLO 3`; else on a connection that does nothing else.
    async fn subscribe(
        &self,
        target: &Target,
        stop: &CancellationToken,
        channels: Channels<'_>,
        on_message: OnMessage,
    ) -> Result<Ear, Failure> {
        let asks = !self.is_old();
        if asks {
            let receiver = Arc::clone(&on_message);
            match self.open_for_pushes(target, stop, move |push| receive(&receiver, push)).await {
                Ok((ear, mut connection)) => {
                    let needed = connection.subscribe(channels.needed).await;
                    needed.map_err(|error| refused(channels.needed, &error))?;
                    if let Some(channel) = channels.welcome {
                        welcome(channel, connection.subscribe(channel)).await;
                    }
                    return Ok(Ear { _connection: Some(connection), ..ear });
                }
                Err(Dialed::Greeted(error)) if knows_no_hello(&error) => {}
                Err(dialed) => return Err(self.failure(dialed)),
            }
            self.gate.pass(target).await;
        }
        let token = self.token().await?;
        let stream = socket::open(target, self.tls.as_ref(), &self.names).await;
        let stream = stream.map_err(|failure| self.failure(Dialed::Failed(failure)))?;
        let connected = PubSub::new(&self.login(ProtocolVersion::RESP2, token.as_deref()), stream).await;
        let mut connection = connected.map_err(|error| self.failure(Dialed::Greeted(error)))?;
        let needed = connection.subscribe(channels.needed).await;
        needed.map_err(|error| refused(channels.needed, &error))?;
        if let Some(channel) = channels.welcome {
            welcome(channel, connection.subscribe(channel)).await;
        }
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
                    let body = Bytes::copy_from_slice(message.get_payload_bytes());
                    on_message(message.get_channel_name().as_bytes(), body);
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

    /// A connection of the client library's, which tells pushes and answers apart.
    async fn open_for_pushes(
        &self,
        target: &Target,
        stop: &CancellationToken,
        receive: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<(Ear, MultiplexedConnection), Dialed> {
        let token = self.token().await.map_err(Dialed::Failed)?;
        let stream = socket::open(target, self.tls.as_ref(), &self.names).await.map_err(Dialed::Failed)?;
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
            self.tracker.spawn(renew(token, tokens.watch(), self.username.clone(), ending, send));
        }
        if let Some(set_name) = self.introduction() {
            let _ = connection.send_packed_command(&set_name).await;
        }
        Ok((ear, connection))
    }
}

fn refused(channel: &str, error: &RedisError) -> Failure {
    let detail = format!("SUBSCRIBE {channel}: {}", error.code().unwrap_or("no answer"));
    Failure::new(of_refusal(error).unwrap_or(Reason::Protocol), detail)
}

fn receive(on_message: &OnMessage, push: PushInfo) {
    let mut data = push.data.into_iter();
    if push.kind == PushKind::Message
        && let (Some(Value::BulkString(channel)), Some(Value::BulkString(body))) = (data.next(), data.next())
    {
        on_message(&channel, body.into());
    }
}

/// Tries to listen to a channel that nothing depends on.
async fn welcome(channel: &str, subscribe: impl Future<Output = RedisResult<()>>) {
    if !matches!(timeout(WELCOME, subscribe).await, Ok(Ok(()))) {
        tracing::debug!("cache: Redis does not let {channel} be listened to");
    }
}
