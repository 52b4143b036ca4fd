//! A TCP proxy that breaks the network on purpose.
//!
//! Two threads carry each connection, one per direction; before they hand bytes on they ask the shared state whether
//! they may.

use socket2::SockRef;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that are carried at once.
const PIECE: usize = 64 << 10;

/// A proxy before one address; ends when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    port: u16,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    accepted: AtomicU64,
    answers: AtomicU64,
    answered_bytes: AtomicU64,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    /// Connections up to this number carry nothing.
    frozen_up_to: u64,
    /// Connections that carry nothing since one of the two came over them.
    stalled: BTreeSet<u64>,
    stalling_request: Option<Vec<u8>>,
    stalling_answer: Option<usize>,
    delay: Duration,
    /// Pieces of answers larger than this come that much later.
    slow_answer: Option<(usize, Duration)>,
    /// Bytes that the clients get in place of the next answers.
    garbage: Option<Vec<u8>>,
    /// What the next answer that is spoiled has in it, and what comes in its place.
    garbage_once: Option<(Vec<u8>, Vec<u8>)>,
    open: Vec<(u64, TcpStream, TcpStream)>,
    listening: bool,
    /// Listeners told to end so far; an accept loop of an earlier one ends.
    listener: u64,
}

impl FaultProxy {
    /// Before `target`, on a free port of 127.0.0.1, carrying everything.
    pub fn start(target: impl ToSocketAddrs) -> Self {
        let target = first(target);
        let state = State {
            target,
            frozen_up_to: 0,
            stalled: BTreeSet::new(),
            stalling_request: None,
            stalling_answer: None,
            delay: Duration::ZERO,
            slow_answer: None,
            garbage: None,
            garbage_once: None,
            open: Vec::new(),
            listening: false,
            listener: 0,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            accepted: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            answered_bytes: AtomicU64::new(0),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        shared.listen(listener);
        Self { shared, port }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, as `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Pieces of answers that clients were sent since the start.
    pub fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::SeqCst)
    }

    /// Bytes of answers that clients were sent since the start.
    pub fn answered_bytes(&self) -> u64 {
        self.shared.answered_bytes.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.lock().open.len()
    }

    /// New connections go to another address; open ones stay.
    pub fn redirect(&self, target: impl ToSocketAddrs) {
        self.shared.lock().target = first(target);
    }

    /// Carries everything again: listens, thaws, without delay and garbage.
    pub fn pass(&self) {
        let mut state = self.shared.lock();
        state.frozen_up_to = 0;
        state.stalled.clear();
        (state.stalling_request, state.stalling_answer) = (None, None);
        state.delay = Duration::ZERO;
        state.slow_answer = None;
        state.garbage = None;
        state.garbage_once = None;
        let listening = state.listening;
        drop(state);
        self.shared.changed.notify_all();
        if !listening {
            let bound = crate::until("the proxy's port", || TcpListener::bind(("127.0.0.1", self.port)).ok());
            self.shared.listen(bound);
        }
    }

    /// Resets every open connection (RST); new ones are carried.
    pub fn cut(&self) {
        self.shared.lock().cut();
        self.shared.changed.notify_all();
    }

    /// Resets every open connection and listens no more, until [`FaultProxy::pass`].
    pub fn refuse(&self) {
        let mut state = self.shared.lock();
        state.listening = false;
        state.listener += 1;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the accept loop, which then drops its listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        crate::until("the end of the listener", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_err().then_some(())
        });
    }

    /// Open connections carry nothing more, without a word; new ones are carried.
    pub fn freeze_existing(&self) {
        self.freeze_first(self.accepted());
    }

    /// The first `connections` that were accepted carry nothing more; later ones are carried.
    pub fn freeze_first(&self, connections: u64) {
        self.shared.lock().frozen_up_to = connections;
    }

    /// No connection carries anything; new ones are accepted.
    pub fn freeze_all(&self) {
        self.shared.lock().frozen_up_to = u64::MAX;
    }

    /// A connection over which a request with these bytes is sent carries nothing from then on, as when a part of what is
    /// behind it hangs.
    pub fn stall_requests(&self, with: &[u8]) {
        self.shared.lock().stalling_request = Some(with.into());
    }

    /// A connection over which a piece of an answer of more than this many bytes is sent carries nothing from then on.
    pub fn stall_answers(&self, above: usize) {
        self.shared.lock().stalling_answer = Some(above);
    }

    /// Every piece of an answer comes this much later.
    pub fn delay(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// Every piece of an answer of more than this many bytes comes this much later, and what comes after it over the same
    /// connection.
    pub fn delay_answers(&self, above: usize, delay: Duration) {
        self.shared.lock().slow_answer = Some((above, delay));
    }

    /// Clients get these bytes in place of each piece of an answer.
    pub fn garbage(&self, bytes: &[u8]) {
        self.shared.lock().garbage = Some(bytes.into());
    }

    /// One client gets these bytes, once: in place of the next piece of an answer that has `with` in it.
    pub fn garbage_once(&self, with: &[u8], bytes: &[u8]) {
        self.shared.lock().garbage_once = Some((with.into(), bytes.into()));
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.listening = false;
        state.listener += 1;
        state.frozen_up_to = 0;
        state.stalled.clear();
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    /// Whether a piece is one after which its connection carries nothing.
    fn stalls(&self, piece: &[u8], answers: bool) -> bool {
        if answers {
            return self.stalling_answer.is_some_and(|most| piece.len() > most);
        }
        self.stalling_request.as_ref().is_some_and(|with| has(piece, with))
    }

    fn is_open(&self, number: u64) -> bool {
        self.open.iter().any(|(open, ..)| *open == number)
    }

    fn cut(&mut self) {
        for (_, client, server) in self.open.drain(..) {
            for socket in [client, server] {
                // Closing with linger zero resets. Only the reading half is shut, for that wakes the threads, which
                // hold the socket open, and says nothing to the peer.
                let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                let _ = socket.shutdown(Shutdown::Read);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: &Arc<Self>, listener: TcpListener) {
        let mut state = self.lock();
        state.listening = true;
        let number = state.listener;
        drop(state);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.lock().listener != number {
                    return;
                }
                shared.carry(&client);
            }
        });
    }

    fn carry(self: &Arc<Self>, client: &TcpStream) {
        let number = self.accepted.fetch_add(1, Ordering::SeqCst) + 1;
        let target = self.lock().target;
        // Nobody behind it: the client sees its connection end, as behind a load balancer.
        let Ok(server) = TcpStream::connect(target) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(client_copy), Ok(server_copy)) = (client.try_clone(), server.try_clone()) else { return };
        self.lock().open.push((number, client_copy, server_copy));
        for (from, to, answers) in [(client, &server, false), (&server, client, true)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
            let shared = Arc::clone(self);
            thread::spawn(move || {
                shared.pump(number, &from, &to, answers);
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
                shared.lock().open.retain(|(open, ..)| *open != number);
            });
        }
    }

    fn pump(&self, number: u64, mut from: &TcpStream, mut to: &TcpStream, answers: bool) {
        let mut piece = vec![0; PIECE];
        while let Ok(len @ 1..) = from.read(&mut piece) {
            if self.lock().stalls(&piece[..len], answers) {
                self.lock().stalled.insert(number);
            }
            if !self.gate(number) {
                return;
            }
            let spoiled = if answers { self.spoil(number, &piece[..len]) } else { None };
            let bytes = spoiled.as_deref().unwrap_or(&piece[..len]);
            if to.write_all(bytes).is_err() {
                return;
            }
            if answers {
                self.answers.fetch_add(1, Ordering::SeqCst);
                self.answered_bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            }
        }
        // A frozen connection does not even end.
        self.gate(number);
    }

    /// Waits until this connection may carry something; false when it was cut meanwhile.
    fn gate(&self, number: u64) -> bool {
        let frozen = |state: &mut State| {
            (number <= state.frozen_up_to || state.stalled.contains(&number)) && state.is_open(number)
        };
        let state = self.changed.wait_while(self.lock(), frozen).unwrap_or_else(PoisonError::into_inner);
        state.is_open(number)
    }

    /// Delays an answer as told; the bytes to send in its place, if any.
    fn spoil(&self, number: u64, piece: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let delay_of = move |state: &State| match state.slow_answer {
            Some((above, delay)) if piece.len() > above => delay.max(state.delay),
            _ => state.delay,
        };
        let delay = delay_of(&state);
        if !delay.is_zero() {
            let still = |state: &mut State| state.is_open(number) && delay_of(state) == delay;
            let waited = self.changed.wait_timeout_while(state, delay, still);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let once = state.garbage_once.take_if(|(with, _)| has(piece, with));
        once.map(|(_, bytes)| bytes).or_else(|| state.garbage.clone())
    }
}

fn has(piece: &[u8], part: &[u8]) -> bool {
    piece.windows(part.len()).any(|window| window == part)
}

fn first(address: impl ToSocketAddrs) -> SocketAddr {
    address.to_socket_addrs().expect("an address").next().expect("an address")
}
