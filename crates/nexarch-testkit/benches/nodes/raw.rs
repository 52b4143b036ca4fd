//! Redis with nothing in between: a socket, written and read by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

pub(crate) struct Raw {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Raw {
    pub(crate) fn connect(port: u16) -> Self {
        let writer = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        writer.set_nodelay(true).expect("an option");
        Self { reader: BufReader::with_capacity(1 << 20, writer.try_clone().expect("a handle")), writer }
    }

    pub(crate) fn send(&mut self, commands: &[u8]) {
        self.writer.write_all(commands).expect("a socket that takes it");
    }

    /// A simple answer: `+OK`, `:1`.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    pub(crate) fn bulk(&mut self) -> Vec<u8> {
        let line = self.line();
        let length: usize = line.strip_prefix('$').and_then(|n| n.parse().ok()).expect("a value");
        let mut value = vec![0; length + 2];
        self.reader.read_exact(&mut value).expect("a value");
        value.truncate(length);
        value
    }

    fn array(&mut self) -> usize {
        let line = self.line();
        line.strip_prefix('*').and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no array: {line}"))
    }

    /// One step of a scan: the next cursor and the keys.
    pub(crate) fn scan(&mut self, cursor: &str, pattern: &str, count: usize) -> (String, Vec<Vec<u8>>) {
        let command =
            command(&["SCAN", cursor, "MATCH", pattern, "COUNT", &count.to_string()].map(str::as_bytes));
        self.send(&command);
        assert_eq!(self.array(), 2);
        let next = String::from_utf8(self.bulk()).expect("a cursor");
        let keys = (0..self.array()).map(|_| self.bulk()).collect();
        (next, keys)
    }
}

pub(crate) fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        text.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        text.extend_from_slice(arg);
        text.extend_from_slice(b"\r\n");
    }
    text
}
