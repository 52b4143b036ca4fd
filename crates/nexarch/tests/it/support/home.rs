//! A directory with a database, and the program run in it.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{oracle::python, server::Server, wait};

/// An empty directory that a test has for itself; gone with it.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("test.db")
    }

    /// The program with nothing in its environment but where the database is and that no fixed port is taken.
    pub(crate) fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nexarch"));
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("DATABASE_URL", format!("sqlite://{}", self.database().display()))
            .env("PORT", "0")
            .env("OTLP_HTTP_ADDR", "off")
            .env("OTLP_GRPC_ADDR", "off")
            .env("METRICS_ADDR", "off");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn output<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed; its last line of standard output is JSON.
    pub(crate) fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        let output = self.output(args);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(text.lines().last().unwrap_or_default())
            .unwrap_or_else(|_| panic!("no JSON: {text}"))
    }

    /// A new tenant and the text of a key with every scope.
    pub(crate) fn tenant(&self, id: &str) -> String {
        let output = self.output(["tenant", "create", id]);
        assert!(output.status.success(), "{output:?}");
        self.key(id, "ingest,read,admin")
    }

    /// The text of a new key.
    pub(crate) fn key(&self, tenant: &str, scopes: &str) -> String {
        let made = self.json(["key", "create", "--tenant", tenant, "--scope", scopes, "--json"]);
        made["key"].as_str().unwrap().to_owned()
    }

    /// A server on this database, ready.
    pub(crate) fn serve(&self) -> Server {
        Server::start(&mut self.command(["serve"]))
    }

    /// A server of a new home and what its start says of the cache. On a busy machine Redis may take longer than the start
    /// waits for it: then another one is started.
    pub(crate) fn started(settings: &[(&str, &str)]) -> (Self, Server, String) {
        wait::attempts("a start that knows of Redis", || {
            let home = Self::new();
            let mut server = home.serve_with(settings);
            let line = server.line_with("cache: ");
            (!line.ends_with("(fallback: connecting)")).then_some((home, server, line))
        })
    }

    /// A server with further settings, ready.
    pub(crate) fn serve_with(&self, settings: &[(&str, &str)]) -> Server {
        Server::start(self.command(["serve"]).envs(settings.iter().copied()))
    }
}

/// A file of the project's fixtures.
pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path.to_str().unwrap().to_owned()
}

/// Another process that holds the database for writing, until it is dropped.
pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn take(home: &Home) -> Self {
        let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30); \
                      c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()";
        let mut child = Command::new(python())
            .args(["-c", script])
            .arg(home.database())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "held");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
