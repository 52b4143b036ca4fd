//! A server as a process of its own, of this very executable.

use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use anyhow::Context;

use super::usage;

/// Ports, files and logs of a measured server: none but its own. Warnings are shown.
const SETTINGS: [(&str, &str); 5] = [
    ("PORT", "0"),
    ("OTLP_HTTP_ADDR", "off"),
    ("OTLP_GRPC_ADDR", "off"),
    ("METRICS_ADDR", "off"),
    ("RUST_LOG", "warn"),
];
/// What the line with the address says before it.
const LISTENING: &str = "listening on http://";
/// What the line with the address of the figures says before it, and after it.
const FIGURES: (&str, &str) = ("metrics at http://", "/metrics");
/// What the line with the key of a new database says before it.
const FIRST_KEY: &str = "(shown once): ";

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Kept open: a server that cannot speak is a server that stops.
    stdout: BufReader<ChildStdout>,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Process {
    /// Runs this executable with other arguments in a directory, with nothing in its environment but what a quiet
    /// server needs, and waits until it says where it listens.
    ///
    /// Blocks for as long as the start takes.
    pub fn start(dir: &Path, args: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(dir, args, &[])
    }

    fn start_with(dir: &Path, args: &[&str], settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let executable = std::env::current_exe().context("this executable cannot be found")?;
        let mut child = Command::new(executable)
            .args(args)
            .current_dir(dir)
            .env_clear()
            .envs(SETTINGS)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the server cannot be started")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        // Already a server, so that it is killed when it does not say what it should.
        let mut this = Self { child, stdout: BufReader::new(stdout), addr: unspecified };
        this.addr = this.word_after(LISTENING)?.parse().context("no address")?;
        Ok(this)
    }

    /// A server on a database in a directory.
    pub fn serve(dir: &Path) -> anyhow::Result<Self> {
        Self::start(dir, &["serve", "--database-url", "sqlite://bench.db"])
    }

    /// A server on a database in a directory, and where its figures are (`GET /metrics`).
    pub fn serve_with_figures(dir: &Path) -> anyhow::Result<(Self, SocketAddr)> {
        let args = ["serve", "--database-url", "sqlite://bench.db"];
        let mut this = Self::start_with(dir, &args, &[("METRICS_ADDR", "127.0.0.1:0")])?;
        let figures = this.word_after(FIGURES.0)?;
        let figures = figures.trim_end_matches(FIGURES.1).parse().context("no address of figures")?;
        Ok((this, figures))
    }

    /// The key that a new database prints once.
    pub fn first_key(&mut self) -> anyhow::Result<String> {
        self.word_after(FIRST_KEY)
    }

    fn word_after(&mut self, words: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.stdout.read_line(&mut line).context("standard output cannot be read")?;
            anyhow::ensure!(read > 0, "the server ended before it said {words:?}");
            if let Some((_, rest)) = line.split_once(words) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// Processor seconds so far.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        usage::cpu_seconds(self.child.id())
    }

    /// Memory in use now, bytes.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        usage::resident_bytes(self.child.id())
    }

    /// Asks it to stop and waits for its end, as long as its own limits allow (30 s).
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("SIGTERM")?;
        self.child.wait().context("waiting for the end")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
