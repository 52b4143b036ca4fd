//! One `redis-server` process on a free port.

use crate::certificates::Certificates;
use crate::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// Another process may take a free port before the server does.
const PORT_TRIES: usize = 10;

/// What a server is started with.
#[derive(Debug, Default)]
#[must_use]
pub struct ServerBuilder {
    args: Vec<String>,
    users: Vec<String>,
    password: Option<String>,
    tls: Option<Arc<Certificates>>,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    builder: ServerBuilder,
    dir: TempDir,
    port: u16,
    child: Child,
    paused: bool,
}

impl ServerBuilder {
    /// The password of the default user.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// A line of an ACL file, as `user app on >secret ~nexarch:* +@read`. The default user keeps its password.
    pub fn user(mut self, line: &str) -> Self {
        self.users.push(line.into());
        self
    }

    /// TLS and nothing else, with this certificate.
    pub fn tls(mut self, certificates: &Arc<Certificates>) -> Self {
        self.tls = Some(Arc::clone(certificates));
        self
    }

    /// These commands answer `ERR unknown command`, as on Azure.
    pub fn without(mut self, commands: &[&str]) -> Self {
        for command in commands {
            self.args.extend(["--rename-command".into(), (*command).into(), String::new()]);
        }
        self
    }

    /// A memory limit in bytes, and what happens at it: `noeviction`, `allkeys-lru`, …
    pub fn max_memory(self, bytes: u64, policy: &str) -> Self {
        self.arg("--maxmemory", &bytes.to_string()).arg("--maxmemory-policy", policy)
    }

    /// Any other option.
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.into(), value.into()]);
        self
    }

    /// Starts it on a free port and waits until it answers.
    pub fn start(self) -> RedisServer {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for _ in 0..PORT_TRIES {
            let port = free_port();
            if let Some(child) = self.spawn(&dir, port) {
                return RedisServer { builder: self, dir, port, child, paused: false };
            }
        }
        panic!("redis-server does not start:\n{}", log(&dir));
    }

    /// `None` when it ended instead of answering.
    fn spawn(&self, dir: &TempDir, port: u16) -> Option<Child> {
        let port = port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        // A replica asks for a full copy at once, not after the five seconds that save a busy master work.
        command.args(["--repl-diskless-sync-delay", "0"]);
        match &self.tls {
            None => {
                command.args(["--port", &port]);
            }
            Some(certificates) => {
                let file = |name| certificates.directory().join(name);
                command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
                command.arg("--tls-cert-file").arg(file("server.crt"));
                command.arg("--tls-key-file").arg(file("server.key"));
                command.arg("--tls-ca-cert-file").arg(file("ca.crt"));
            }
        }
        if self.users.is_empty() {
            if let Some(password) = &self.password {
                command.args(["--requirepass", password]);
            }
        } else {
            let credential =
                self.password.as_ref().map_or("nopass".into(), |password| format!(">{password}"));
            let default = format!("user default on {credential} ~* &* +@all");
            let lines = std::iter::once(&default).chain(&self.users).cloned().collect::<Vec<_>>().join("\n");
            let file = dir.path().join("users.acl");
            std::fs::write(&file, lines + "\n").expect("a file in a temporary directory");
            command.arg("--aclfile").arg(file);
        }
        command.args(&self.args).current_dir(dir.path());
        let log = OpenOptions::new().create(true).append(true).open(dir.path().join("log"));
        let log = log.expect("a file in a temporary directory");
        let copy = File::try_clone(&log).expect("a file handle");
        let started = command.stdin(Stdio::null()).stdout(log).stderr(copy).spawn();
        let mut child = started.unwrap_or_else(|error| {
            panic!("cannot start redis-server ({error}): apt-get install redis-server")
        });
        let port = port.parse().expect("a port");
        until("redis-server", || {
            if self.cli(port, &["PING"]).is_some_and(|answer| !answer.contains("Could not connect")) {
                return Some(true);
            }
            child.try_wait().expect("a child").map(|_| false)
        })
        .then_some(child)
    }

    /// Runs a command as the default user; `None` when the program failed.
    fn cli(&self, port: u16, args: &[&str]) -> Option<String> {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "--no-auth-warning"]);
        if let Some(password) = &self.password {
            command.args(["-a", password]);
        }
        if let Some(certificates) = &self.tls {
            // The administrator goes by address, which the certificate need not name.
            command.args(["--tls", "--insecure", "--cacert"]).arg(certificates.ca_file());
        }
        let output: Output =
            command.args(args).stdin(Stdio::null()).output().unwrap_or_else(|error| {
                panic!("cannot start redis-cli ({error}): apt-get install redis-tools")
            });
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    }
}

impl RedisServer {
    /// What to start one with.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// One without password and TLS.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, as `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs a command as the default user and returns what `redis-cli` prints.
    pub fn cli(&self, args: &[&str]) -> String {
        self.builder
            .cli(self.port, args)
            .unwrap_or_else(|| panic!("redis-cli {args:?} failed\n{}", log(&self.dir)))
    }

    /// Stops its process where it is; the kernel goes on accepting connections for it.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.paused = true;
    }

    /// Lets a paused process go on.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    /// Ends it without a word, as a power cut does.
    pub fn kill(&mut self) {
        // Gone already is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port, empty; kills it before when it runs.
    pub fn restart(&mut self) {
        self.kill();
        self.paused = false;
        self.child = until("the same port", || self.builder.spawn(&self.dir, self.port));
    }

    /// The value of an option that it was started with.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let at = self.builder.args.iter().position(|arg| arg == name)?;
        self.builder.args.get(at + 1).map(String::as_str)
    }

    /// Makes it a replica and waits until it has copied everything.
    pub fn replicate(&self, primary: &Self) {
        self.cli(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        until("the replica's copy", || {
            self.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
        });
    }

    /// Makes a replica a primary of its own. What its old primary takes from now on is lost to it.
    pub fn promote(&self) {
        self.cli(&["REPLICAOF", "NO", "ONE"]);
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        log(&self.dir)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the server runs");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("── log of redis-server on port {}\n{}", self.port, log(&self.dir));
        }
    }
}

/// A port that nobody listens on right now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn log(dir: &TempDir) -> String {
    std::fs::read_to_string(dir.path().join("log")).unwrap_or_default()
}
