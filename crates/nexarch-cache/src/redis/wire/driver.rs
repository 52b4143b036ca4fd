//! The end of a connection that has the socket.

#[cfg(test)]
mod pressure;

use super::inbox::{Inbox, MAX_REPLY, Reply, Unreadable};
use super::{OnMessage, Shared, TOO_LONG, Unanswered, Waiting, closed};
use crate::redis::socket::Stream;
use crate::sync::lock;
use redis::{ErrorKind, PushKind, RedisError, Value};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A buffer of commands that grew beyond this is not kept, in bytes.
const KEPT: usize = 256 << 10;

pub(super) struct Driver {
    stream: Stream,
    shared: Arc<Shared>,
    inbox: Inbox,
    /// Takes messages, where it may be subscribed.
    on_message: Option<OnMessage>,
    /// Commands that were taken, and how many bytes of them were written.
    outbox: Vec<u8>,
    written: usize,
    /// Bytes that were written since the beginning, and at which of them the last command ends that was taken.
    sent: u64,
    taken: u64,
    /// Whether everything that was written has left, for streams that keep some.
    flushed: bool,
    in_flight: VecDeque<InFlight>,
    /// No deadline of those in flight is before it.
    alarm: Option<Pin<Box<Sleep>>>,
}

struct InFlight {
    waiting: Waiting,
    deadline: Option<Instant>,
    /// The byte at which its command ends.
    ends: u64,
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.ended.get_or_insert_with(closed);
        // They find out by their callers' ends.
        queue.waiting = Vec::new();
        queue.commands = Vec::new();
    }
}

impl Driver {
    pub(super) fn new(stream: Stream, shared: Arc<Shared>, on_message: Option<OnMessage>) -> Self {
        Self {
            stream,
            shared,
            inbox: if on_message.is_some() { Inbox::of_messages() } else { Inbox::new() },
            on_message,
            outbox: Vec::new(),
            written: 0,
            sent: 0,
            taken: 0,
            flushed: true,
            in_flight: VecDeque::new(),
            alarm: None,
        }
    }

    /// Until the connection ends.
    pub(super) async fn run(mut self) {
        loop {
            match poll_fn(|cx| self.poll(cx)).await {
                // A lone call has nothing to wait for.
                Ok(()) if self.in_flight.is_empty() => {}
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => {
                    lock(&self.shared.queue).ended = Some(error);
                    return;
                }
            }
            self.take();
        }
    }

    /// Writes and reads what it can. Ready when there may be commands to take.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RedisError>> {
        self.shared.driver.register(cx.waker());
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error.into()));
        }
        let answered = self.poll_read(cx)?;
        self.poll_alarm(cx);
        if answered {
            return Poll::Ready(Ok(()));
        }
        let mut queue = lock(&self.shared.queue);
        queue.in_flight = self.in_flight.len();
        queue.unwritten = self.outbox.len() - self.written;
        queue.asleep = queue.waiting.is_empty();
        if queue.asleep { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outbox.len() {
            let rest = &self.outbox[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.written += count;
                    self.sent += count as u64;
                }
            }
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Says whether anybody was answered.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, RedisError> {
        let mut answered = false;
        loop {
            let mut room = ReadBuf::new(self.inbox.room());
            let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, &mut room) else {
                return Ok(answered);
            };
            read?;
            let count = room.filled().len();
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.inbox.arrived(count);
            answered |= self.deliver()?;
        }
    }

    fn deliver(&mut self) -> Result<bool, RedisError> {
        let mut answered = false;
        loop {
            let most = self.in_flight.front().map_or(MAX_REPLY, |first| first.waiting.most);
            let next = self.inbox.next(most);
            let next = next.map_err(|unreadable| match unreadable {
                Unreadable::Malformed => (ErrorKind::Parse, "an answer that makes no sense"),
                Unreadable::TooLong => (TOO_LONG, "an answer that is too long"),
            })?;
            let Some(reply) = next else { return Ok(answered) };
            let Some(reply) = self.answer(reply) else { continue };
            let first = match self.in_flight.front_mut() {
                // To a command that is not out yet nobody can have the answer.
                Some(first) if first.ends <= self.sent => &mut first.waiting,
                _ => return Err(unasked(reply)),
            };
            if first.skip > 0 {
                first.skip -= 1;
                continue;
            }
            let caller = self.in_flight.pop_front().and_then(|first| first.waiting.caller);
            if let Some(caller) = caller {
                // Who hung up does not mind.
                let _ = caller.send(match reply {
                    Reply::Value(value) => Ok(value),
                    Reply::TooLarge => Err(Unanswered::TooLarge),
                });
            }
            answered = true;
        }
    }

    /// What is an answer; a message is handed on.
    fn answer(&self, reply: Reply) -> Option<Reply> {
        match (reply, &self.on_message) {
            (Reply::Value(Value::Push { kind: PushKind::Message, data }), Some(on_message)) => {
                receive(on_message, data);
                None
            }
            // In RESP3 the answer to a subscription is a push, too.
            (Reply::Value(Value::Push { kind: PushKind::Subscribe, .. }), Some(_)) => {
                (!self.in_flight.is_empty()).then_some(Reply::Value(Value::Okay))
            }
            // A server that has something to say to all may.
            (Reply::Value(Value::Push { .. }), _) => None,
            // In RESP2 a message is an answer that nobody asked for.
            (Reply::Value(Value::Array(mut data)), Some(on_message)) if is_message(&data) => {
                receive(on_message, data.split_off(1));
                None
            }
            (reply, _) => Some(reply),
        }
    }

    /// Takes what callers put into the queue. Their time begins now, also when the socket takes nothing.
    fn take(&mut self) {
        if self.written == self.outbox.len() {
            self.outbox.clear();
            self.written = 0;
            if self.outbox.capacity() > KEPT {
                self.outbox = Vec::new();
            }
        } else if self.written > KEPT.max(self.outbox.len() / 2) {
            // A peer that reads slowly, always behind: what it has read is dropped as soon as it is the larger part, so
            // that no byte is moved more than once.
            self.outbox.drain(..self.written);
            self.written = 0;
        }
        let mut earliest: Option<Instant> = None;
        let mut queue = lock(&self.shared.queue);
        if queue.waiting.is_empty() {
            return;
        }
        if self.outbox.is_empty() {
            std::mem::swap(&mut self.outbox, &mut queue.commands);
        } else {
            self.outbox.append(&mut queue.commands);
        }
        self.flushed = false;
        let now = Instant::now();
        for waiting in queue.waiting.drain(..) {
            let deadline = waiting.limit.map(|limit| now + limit);
            earliest = earliest.into_iter().chain(deadline).min();
            self.taken += waiting.len as u64;
            self.in_flight.push_back(InFlight { waiting, deadline, ends: self.taken });
        }
        queue.in_flight = self.in_flight.len();
        queue.unwritten = self.outbox.len() - self.written;
        drop(queue);
        if let Some(earliest) = earliest
            && self.alarm.as_ref().is_none_or(|alarm| earliest < alarm.deadline())
        {
            self.alarm = Some(Box::pin(sleep_until(earliest)));
        }
    }

    /// Tells those whose time is over, and sets the alarm to the next deadline. While calls come and are answered it goes
    /// off once in every limit, not once for every call.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) {
        while let Some(alarm) = &mut self.alarm {
            if alarm.as_mut().poll(cx).is_pending() {
                return;
            }
            let now = Instant::now();
            let mut next: Option<Instant> = None;
            for InFlight { waiting, deadline, .. } in &mut self.in_flight {
                let Some(deadline) = *deadline else { continue };
                if deadline > now {
                    if waiting.caller.is_some() {
                        next = next.into_iter().chain([deadline]).min();
                    }
                } else if let Some(caller) = waiting.caller.take()
                    && caller.send(Err(Unanswered::Late)).is_err()
                {
                    self.shared.unheard.fetch_add(1, Ordering::Relaxed);
                }
            }
            match next {
                Some(next) => alarm.as_mut().reset(next),
                None => self.alarm = None,
            }
        }
    }
}

fn is_message(data: &[Value]) -> bool {
    matches!(data, [Value::BulkString(kind), _, _] if kind == b"message")
}

/// `data` is the channel's name and the message.
fn receive(on_message: &OnMessage, data: Vec<Value>) {
    let mut data = data.into_iter();
    if let (Some(Value::BulkString(channel)), Some(Value::BulkString(body))) = (data.next(), data.next()) {
        on_message(&channel, body.into());
    }
}

/// An answer that nobody asked for is the server's last word, or the two are out of step. Either way it is the end.
fn unasked(reply: Reply) -> RedisError {
    match reply {
        Reply::Value(Value::ServerError(error)) => error.into(),
        _ => (ErrorKind::Parse, "an answer that nobody asked for").into(),
    }
}
