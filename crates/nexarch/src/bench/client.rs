//! An HTTP/1.1 client that does as little as can be: requests are bytes made beforehand, one after another on one
//! connection. A full client would cost more than the server that is measured.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longest wait for an answer: a server that takes longer is broken, not slow.
const REPLY_LIMIT: Duration = Duration::from_mins(1);
/// Room for an answer's head and a body of the usual size.
const BUFFER_BYTES: usize = 64 << 10;
/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// A connection that is kept.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Of the answer.
    pub status: u16,
    /// Status line and headers as they came, without the empty line.
    pub head: &'a str,
    /// The whole body.
    pub body: &'a [u8],
}

impl Reply<'_> {
    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A GET with a key; `more` are header lines that end in `\r\n`.
pub fn get(path: &str, key: &str, more: &str) -> Bytes {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\nx-api-key: {key}\r\n{more}\r\n").into()
}

/// A POST of spans as OTLP protobuf with a key; `encoding` is the body's `Content-Encoding`.
pub fn post_spans(key: &str, encoding: &str, body: &[u8]) -> Bytes {
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: bench\r\nx-api-key: {key}\r\ncontent-type: application/x-protobuf\r\n\
         content-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat().into()
}

impl Connection {
    /// Connects.
    pub async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Sends a request and waits for the whole answer, which needs a `Content-Length`.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        let (end, length) = tokio::time::timeout(REPLY_LIMIT, self.send(request)).await??;
        let (head, body) = self.buffer.split_at(end);
        let head = std::str::from_utf8(head.trim_ascii_end()).map_err(|_| wrong("the head is not text"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Reply { status: status.ok_or_else(|| wrong("no status"))?, head, body: &body[..length] })
    }

    /// Returns where the head ends and how long the body is.
    async fn send(&mut self, request: &[u8]) -> io::Result<(usize, usize)> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
            else {
                if self.buffer.len() > MAX_HEAD_BYTES {
                    return Err(wrong("the head is too long"));
                }
                continue;
            };
            let head = std::str::from_utf8(&self.buffer[..end]).map_err(|_| wrong("the head is not text"))?;
            // A 204 or a 304 has no body and need not say so.
            let length = header(head, "content-length").map_or(Ok(0), str::parse);
            let length = length.map_err(|_| wrong("Content-Length is no number"))?;
            while self.buffer.len() < end + length {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            return Ok((end, length));
        }
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each read with the next text, in pieces of seven bytes.
    async fn answering(texts: Vec<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio_util::task::TaskTracker::new().spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for text in texts {
                let mut request = [0; 256];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                for piece in text.as_bytes().chunks(7) {
                    stream.write_all(piece).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        addr
    }

    #[tokio::test]
    async fn whole_answers_are_read_whatever_the_pieces() {
        let addr = answering(vec![
            "HTTP/1.1 200 OK\r\nCache-Status: a; hit\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut",
        ])
        .await;
        let mut connection = Connection::open(addr).await.unwrap();
        let request = get("/x", "nex_k", "accept: */*\r\n");
        assert!(request.ends_with(b"\r\nx-api-key: nex_k\r\naccept: */*\r\n\r\n"));
        let reply = connection.exchange(&request).await.unwrap();
        assert_eq!(
            (reply.status, reply.body, reply.header("cache-status")),
            (200, &b"hello"[..], Some("a; hit"))
        );
        let reply = connection.exchange(&request).await.unwrap();
        assert_eq!((reply.status, reply.body.len()), (304, 0));
        let cut = connection.exchange(&request).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
