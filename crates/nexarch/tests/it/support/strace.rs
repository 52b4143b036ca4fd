//! Watching, and breaking, the system calls of a running server.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::server::Server;

/// strace on a process; it lets go when dropped, and the process goes on.
pub(crate) struct Strace {
    child: Child,
    log: PathBuf,
}

impl Strace {
    /// Attaches to all threads; returns when every one is held.
    pub(crate) fn attach(server: &Server, log: &Path, args: &[&str]) -> Self {
        let pid = server.pid().to_string();
        let mut child = Command::new("strace")
            .args(["-f", "-y", "-o"])
            .arg(log)
            .args(args)
            .args(["-p", &pid])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace: install it with `apt-get install strace`, or run `cargo xtask test`");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        assert!(first.contains("attached"), "strace cannot attach (is ptrace allowed here?): {first}");
        // Read on, or strace would block on a full pipe when threads come and go.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, log: log.to_owned() }
    }

    /// System calls that ended so far on a file whose name ends so.
    pub(crate) fn calls_on(&self, file: &str) -> usize {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter(|line| line.contains(&format!("{file}>)")) && line.contains(" = ")).count()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // SIGTERM: strace detaches from what it did not start. SIGKILL would do so too, but leave threads stopped.
        let line = format!("kill -TERM {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &line]).status();
        let _ = self.child.wait();
    }
}
