//! A server process: started, heard, stopped, killed.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
};

use super::{
    client::Client,
    wait::{self, PATIENCE},
};

/// A running server. Killed when dropped, so that a failed test leaves nothing behind.
pub(crate) struct Server {
    child: Child,
    base: String,
    said: Vec<String>,
    /// Behind a lock only so that threads of a test can share a server.
    lines: Mutex<Receiver<String>>,
    log: Arc<Mutex<String>>,
    /// Reads the log, to its end.
    reader: thread::JoinHandle<()>,
}

impl Server {
    /// Starts it and waits until it says that it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let log = Arc::<Mutex<String>>::default();
        let (copy, mut stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = stderr.read(&mut piece) {
                copy.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..len]));
            }
        });
        let (base, said, lines) = (String::new(), Vec::new(), Mutex::new(lines));
        let mut this = Self { child, base, said, lines, log, reader };
        let line = this.line_with(" listening on http");
        line.split_whitespace().last().unwrap().clone_into(&mut this.base);
        this
    }

    /// The first line of standard output that contains `part`, said already or still to come.
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        while !self.said.iter().any(|line| line.contains(part)) {
            match self.lines.get_mut().unwrap().recv_timeout(PATIENCE) {
                Ok(line) => self.said.push(line),
                Err(error) => {
                    panic!("no line with {part:?}: {error}\n{}\n{}", self.said.join("\n"), self.log())
                }
            }
        }
        self.said.iter().find(|line| line.contains(part)).unwrap().clone()
    }

    /// Everything said on standard output so far, and whatever comes until it closes.
    pub(crate) fn all_lines(mut self) -> Vec<String> {
        self.said.extend(self.lines.get_mut().unwrap().iter());
        std::mem::take(&mut self.said)
    }

    /// The key that a new database prints once.
    pub(crate) fn first_key(&mut self) -> String {
        let line = self.line_with("(shown once): ");
        line.split_whitespace().last().unwrap().to_owned()
    }

    /// A client with the key that a new database prints.
    pub(crate) fn first_client(&mut self) -> Client {
        let key = self.first_key();
        self.client(&key)
    }

    /// Where it listens, as `http://host:port`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client with its own connection.
    pub(crate) fn client(&self, key: &str) -> Client {
        Client::new(&self.base, Some(key))
    }

    /// A client without a key.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(&self.base, None)
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What it logged when `part` is in it.
    pub(crate) fn log_with(&self, part: &str) -> String {
        wait::until(part, || Some(self.log()).filter(|log| log.contains(part)))
    }

    /// Asks it to stop and waits for its end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end, and that of its log.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = wait::until("the end of the server", || self.child.try_wait().unwrap());
        wait::until("the end of its log", || self.reader.is_finished().then_some(()));
        status
    }

    /// Sends a signal, by the shell's own `kill`, which every machine has.
    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// Ends it as a power cut would end it: no handler runs, nothing is flushed.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("── log of the server\n{}", self.log());
        }
    }
}
