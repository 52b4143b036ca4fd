//! A port where something else than Redis answers.

use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A port that is taken, so that nobody else gets it, and on which nobody listens.
#[derive(Debug)]
pub struct ClosedPort {
    _socket: Socket,
    port: u16,
}

impl ClosedPort {
    /// On 127.0.0.1.
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        let port = socket.local_addr().expect("an address").as_socket().expect("an IPv4 address").port();
        Self { _socket: socket, port }
    }

    /// Its number.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Default for ClosedPort {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers whatever it is sent with the same bytes, and ends the connection.
#[derive(Debug)]
pub struct Stranger {
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Stranger {
    /// One that says `bytes`.
    pub fn saying(bytes: &[u8]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let ended = Arc::new(AtomicBool::new(false));
        let (bytes, stop) = (bytes.to_vec(), Arc::clone(&ended));
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let mut asked = [0; 4096];
                // A client that has gone is none of its business.
                if matches!(client.read(&mut asked), Ok(1..)) {
                    let _ = client.write_all(&bytes);
                }
            }
        });
        Self { port, ended }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}
