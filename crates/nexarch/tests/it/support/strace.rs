//! Watching, and breaking, the system calls of a running server.

use std::{
    collections::HashMap,
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
        let on_file = format!("{file}>");
        // A call that another thread interrupts in the log is two lines, and only the first names the file.
        let mut under_way = HashMap::new();
        let mut ended = 0;
        for line in text.lines() {
            let Some((thread, what)) = line.split_once(' ') else { continue };
            if what.ends_with("<unfinished ...>") {
                under_way.insert(thread, what.contains(&on_file));
            } else if what.contains(" resumed>") {
                ended += usize::from(under_way.remove(thread) == Some(true));
            } else {
                ended += usize::from(what.contains(&on_file) && what.contains(" = "));
            }
        }
        ended
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
