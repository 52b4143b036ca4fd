//! A connection on which messages arrive.

use super::dialer::{Dialed, Dialer, knows_no_hello};
use super::failure::{Failure, of_refusal};
use super::link::Link;
use super::renewal::outlived;
use super::socket::Target;
use super::wire::OnMessage;
use crate::remote::Reason;
use redis::{ProtocolVersion, RedisError, cmd};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

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

/// A connection on which messages arrive. It ends when dropped, and when a message is longer than any that is wanted.
pub(super) struct Ear(Link);

impl Ear {
    /// Waits until it has ended, from either side.
    pub(super) async fn gone(&self) {
        self.0.gone().await;
    }

    /// Whether it has ended because a message was too long.
    pub(super) fn is_flooded(&self) -> bool {
        self.0.is_flooded()
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
            match self.connect(target, stop, ProtocolVersion::RESP3, Some(on_message.clone())).await {
                Ok((link, token)) => {
                    self.keep_logged_in(&link, token);
                    return channels.enter(link).await;
                }
                Err(Dialed::Greeted(error)) if knows_no_hello(&error) => {}
                Err(dialed) => return Err(self.failure(dialed)),
            }
            self.gate.pass(target).await;
        }
        let connected = self.connect(target, stop, ProtocolVersion::RESP2, Some(on_message)).await;
        let (link, token) = connected.map_err(|dialed| self.failure(dialed))?;
        // In the old protocol a connection that listens cannot log in anew: it is made anew.
        let outlived = outlived(token, self.tokens.as_ref().map(|tokens| tokens.watch()));
        self.tracker.spawn(link.end_after(outlived));
        let ear = channels.enter(link).await?;
        if asks {
            self.note_old();
        }
        Ok(ear)
    }
}

impl Channels<'_> {
    async fn enter(self, link: Link) -> Result<Ear, Failure> {
        let needed = link.ask(cmd("SUBSCRIBE").arg(self.needed)).await;
        needed.map_err(|error| refused(self.needed, &error))?;
        if let Some(channel) = self.welcome
            && !matches!(timeout(WELCOME, link.ask(cmd("SUBSCRIBE").arg(channel))).await, Ok(Ok(_)))
        {
            // Nothing depends on it.
            tracing::debug!("cache: Redis does not let {channel} be listened to");
        }
        Ok(Ear(link))
    }
}

fn refused(channel: &str, error: &RedisError) -> Failure {
    let detail = format!("SUBSCRIBE {channel}: {}", error.code().unwrap_or("no answer"));
    Failure::new(of_refusal(error).unwrap_or(Reason::Protocol), detail)
}
