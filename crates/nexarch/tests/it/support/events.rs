//! A reader of server-sent events over a connection of its own: what a browser does, and nothing more.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpStream,
};

use serde_json::Value;
use ureq::{Agent, http::Request};

use super::wait::PATIENCE;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// An open stream.
pub(crate) struct Events<R = Box<dyn Read + Send>> {
    lines: BufReader<R>,
    /// The id that a browser would come back with.
    pub(crate) last_id: String,
    /// Comments that said something.
    pub(crate) said: Vec<String>,
}

impl Events {
    /// Opens a stream that must open, and reads to where events begin.
    pub(crate) fn open(base: &str, key: &str, last_id: Option<&str>) -> Self {
        let agent: Agent = Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        let mut request = Request::get(format!("{base}/api/v1/stream")).header("X-API-Key", key);
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let reply = agent.run(request.body(()).unwrap()).unwrap();
        assert_eq!(reply.headers()["content-type"], "text/event-stream");
        assert_eq!(reply.headers()["cache-control"], "no-store");
        Self::over(Box::new(reply.into_body().into_reader()))
    }
}

impl Events<TcpStream> {
    /// The same over a socket that was asked already: heads and sizes of chunks are no fields, and are passed over.
    pub(crate) fn on(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(socket)
    }
}

impl<R: Read> Events<R> {
    fn over(reader: R) -> Self {
        let mut this = Self { lines: BufReader::new(reader), last_id: String::new(), said: Vec::new() };
        assert!(this.block().is_some(), "a stream begins with its place");
        assert!(!this.last_id.is_empty());
        this
    }

    /// The next event; `None` when the stream has ended.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            let (kind, data) = self.block()?;
            if !data.is_empty() {
                let data = serde_json::from_str(&data).unwrap();
                return Some(Event { kind, id: self.last_id.clone(), data });
            }
        }
    }

    /// The next event, which must come and be of this kind.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Event {
        let event = self.next().unwrap_or_else(|| panic!("no {kind}: ended, {:?}", self.said));
        assert_eq!(event.kind, kind, "{event:?}");
        event
    }

    /// Reads to the end of the stream, past whatever comes.
    pub(crate) fn end(mut self) -> Vec<String> {
        while self.block().is_some() {}
        self.said
    }

    /// Fields up to an empty line.
    fn block(&mut self) -> Option<(String, String)> {
        let (mut kind, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(':').map(|(name, value)| (name, value.trim_start())) {
                Some(("event", value)) => value.clone_into(&mut kind),
                Some(("data", value)) => data.push_str(value),
                Some(("id", value)) => value.clone_into(&mut self.last_id),
                Some(("", words)) if !words.is_empty() => self.said.push(words.to_owned()),
                None if line.trim_end().is_empty() && (!kind.is_empty() || !self.last_id.is_empty()) => {
                    return Some((kind, data));
                }
                _ => {}
            }
        }
    }
}
