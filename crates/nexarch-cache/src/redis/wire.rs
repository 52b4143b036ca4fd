//! A connection that any number of calls share.
//!
//! Callers put their commands into one buffer; a driver of its own writes all that wait there in one call to the system
//! and hands out the answers in their order. Who was just answered mostly asks again, so the driver lets them go first:
//! then one write carries the commands of all. Deadlines are the driver's, too: one timer for all who wait.

mod driver;
mod inbox;
#[cfg(test)]
mod tests;

use super::socket::Stream;
use crate::sync::lock;
use bytes::Bytes;
use driver::Driver;
use futures_util::task::AtomicWaker;
#[cfg(feature = "testing")]
pub(crate) use inbox::Inbox;
pub(crate) use inbox::{MAX_MESSAGE, MAX_REPLY};
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// Calls that wait for the socket or for their answers. More are turned away: the server is not keeping up, and each
/// would only wait for its deadline.
const MAX_WAITING: usize = 16 << 10;

/// Bytes of commands that wait for the socket. The call that goes beyond is the last one taken. The cache itself sends much
/// less at once.
const MAX_UNWRITTEN: usize = 64 << 20;

/// Takes messages as they arrive. It runs in the connection's driver and must not wait.
///
/// It gets the channel's name and the message.
pub(super) type OnMessage = Arc<dyn Fn(&[u8], Bytes) + Send + Sync>;

/// The kind of the error that ends a connection on which something came that is longer than anything wanted.
const TOO_LONG: ErrorKind = ErrorKind::UnexpectedReturnType;

/// A command, and how its answer is taken.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    command: Command<'a>,
    /// Preceded by `ASKING`: for a server that is only taking the key's slot over.
    asking: bool,
    /// The longest value that is wanted, in bytes.
    most: usize,
    /// Bytes of the value that it carries.
    carries: usize,
}

/// A value above this many bytes takes a time of its own on the way: that it is late says nothing of the server.
const BULKY: usize = 64 << 10;

#[derive(Clone, Copy)]
enum Command<'a> {
    /// What nearly all calls are, written without building a command first: the beginning of a value, in bytes.
    Head(&'a str, usize),
    Other(&'a Cmd),
}

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub(super) enum Unanswered {
    /// Its time is over.
    Late,
    /// The answer came, and was larger than wanted.
    TooLarge,
    /// Too many wait already; it was not sent.
    Full,
    /// The connection has ended.
    Gone(RedisError),
}

/// The callers' end of a connection.
#[derive(Clone)]
pub(super) struct Wire {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    driver: AtomicWaker,
    /// Calls that were not answered in time, and whose callers had hung up by then.
    unheard: AtomicU64,
}

/// What the driver has not taken yet.
#[derive(Default)]
struct Queue {
    commands: Vec<u8>,
    waiting: Vec<Waiting>,
    /// Those that the driver took, and bytes of their commands that the socket did not take yet.
    in_flight: usize,
    unwritten: usize,
    /// Whether the driver has to be woken.
    asleep: bool,
    ended: Option<RedisError>,
}

/// Somebody who waits for an answer.
struct Waiting {
    /// `None` once it was told that its time is over. It keeps its place: the answer may come yet.
    caller: Option<oneshot::Sender<Result<Value, Unanswered>>>,
    limit: Option<Duration>,
    most: usize,
    /// Answers to come before its own.
    skip: u8,
    /// Bytes of its command.
    len: usize,
}

impl<'a> Request<'a> {
    pub(super) fn of(command: &'a Cmd) -> Self {
        Self { command: Command::Other(command), asking: false, most: MAX_REPLY, carries: 0 }
    }

    /// The first `bytes` of the value of a key. Not `GET`: a value has up to 512 MB, whoever put it there.
    pub(super) fn head(key: &'a str, bytes: usize) -> Self {
        Self { command: Command::Head(key, bytes), asking: false, most: bytes, carries: 0 }
    }

    /// It carries a value of this many bytes.
    pub(super) fn carrying(self, bytes: usize) -> Self {
        Self { carries: bytes, ..self }
    }

    /// Whether it may be late because of its size.
    pub(super) fn is_bulky(&self) -> bool {
        self.carries > BULKY
    }

    pub(super) fn asking(self) -> Self {
        Self { asking: true, ..self }
    }

    fn write(&self, to: &mut Vec<u8>) {
        if self.asking {
            to.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n");
        }
        match self.command {
            Command::Head(key, bytes) => {
                // Both ends are in it.
                let last = bytes.max(1) - 1;
                to.extend_from_slice(b"*4\r\n$8\r\nGETRANGE\r\n$");
                write_number(key.len(), to);
                to.extend_from_slice(b"\r\n");
                to.extend_from_slice(key.as_bytes());
                to.extend_from_slice(b"\r\n$1\r\n0\r\n$");
                write_number(last.checked_ilog10().map_or(1, |digits| digits as usize + 1), to);
                to.extend_from_slice(b"\r\n");
                write_number(last, to);
                to.extend_from_slice(b"\r\n");
            }
            Command::Other(command) => command.write_packed_command(to),
        }
    }
}

fn write_number(number: usize, to: &mut Vec<u8>) {
    if number >= 10 {
        write_number(number / 10, to);
    }
    to.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
}

impl Wire {
    /// The callers' end, and the driver, which has to be polled for as long as the connection is to live.
    ///
    /// With `on_message` it may be subscribed to channels: that gets what comes, and nothing longer than [`MAX_MESSAGE`] is
    /// read, answers included.
    pub(super) fn new(
        stream: Stream,
        on_message: Option<OnMessage>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let queue = Mutex::new(Queue::default());
        let shared = Arc::new(Shared { queue, driver: AtomicWaker::new(), unheard: AtomicU64::new(0) });
        let driver = Driver::new(stream, Arc::clone(&shared), on_message);
        (Self { shared }, driver.run())
    }

    /// Sends a command and waits for its answer: as long as it takes, or for `limit`.
    pub(super) async fn call(
        &self,
        request: Request<'_>,
        limit: Option<Duration>,
    ) -> Result<Value, Unanswered> {
        let (caller, answer) = oneshot::channel();
        let skip = u8::from(request.asking);
        let mut waiting = Waiting { caller: Some(caller), limit, most: request.most, skip, len: 0 };
        let wake = {
            let mut queue = lock(&self.shared.queue);
            if let Some(error) = &queue.ended {
                return Err(Unanswered::Gone(error.clone()));
            }
            let before = queue.commands.len();
            if queue.waiting.len() + queue.in_flight >= MAX_WAITING
                || before + queue.unwritten > MAX_UNWRITTEN
            {
                return Err(Unanswered::Full);
            }
            request.write(&mut queue.commands);
            waiting.len = queue.commands.len() - before;
            queue.waiting.push(waiting);
            std::mem::take(&mut queue.asleep)
        };
        if wake {
            self.shared.driver.wake();
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_dropped) => Err(Unanswered::Gone(self.shared.ending())),
        }
    }

    /// Calls since the last time this was asked that were not answered in time, and whose callers had hung up by then.
    pub(super) fn unheard(&self) -> u64 {
        // Nearly always there are none, and nothing is written.
        if self.shared.unheard.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.shared.unheard.swap(0, Ordering::Relaxed)
    }

    /// Whether it has ended because something came that is longer than anything wanted.
    pub(super) fn is_flooded(&self) -> bool {
        lock(&self.shared.queue).ended.as_ref().is_some_and(|error| error.kind() == TOO_LONG)
    }

    /// As [`Wire::call`], without a limit, for those who bring their own.
    pub(super) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        match self.call(Request::of(command), None).await {
            Ok(value) => value.extract_error(),
            Err(Unanswered::Gone(error)) => Err(error),
            Err(Unanswered::TooLarge) => Err((TOO_LONG, "the answer is too large").into()),
            Err(Unanswered::Late | Unanswered::Full) => {
                Err((ErrorKind::Client, "too many calls wait").into())
            }
        }
    }
}

impl Shared {
    /// Why the connection has ended.
    fn ending(&self) -> RedisError {
        lock(&self.queue).ended.clone().unwrap_or_else(closed)
    }
}

fn closed() -> RedisError {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}
