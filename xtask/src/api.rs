//! The API document against the running server: whatever it allows to send is answered as it says, and never by a 5xx.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    python::{self, Environment},
    workspace::{capture, command, root, run, target},
};

/// Exact versions of everything, dependencies of dependencies too.
const REQUIREMENTS: &str = "xtask/schemathesis.txt";
/// Every run sends the same: what it finds today it finds tomorrow.
const SEED: &str = "20261127";
/// Requests of each route that are made up, beside those that are listed; with the rest it takes about two minutes.
const EXAMPLES: &str = "25";
/// A stream does not end, and has tests of its own.
const STREAM: &str = "/api/v1/stream";
/// Opens the admin API of a server that nobody else knows of.
const ADMIN_KEY: &str = "only for this check";
/// Spans that answers are about …
const SPANS: &str = "fixtures/trainticket";
/// … and how many of its files are enough.
const FILES: usize = 2;

/// Starts a server with some spans and sends it what its document allows, and what it does not.
pub(crate) fn check() -> Result<()> {
    let environment =
        Environment { name: "schemathesis", requirements: REQUIREMENTS, imports: "schemathesis" };
    python::ensure_environment(&environment)?;
    run(command("cargo").args(["build", "--locked", "-p", "nexarch"]))?;
    let home = target().join("api-check");
    // Left by a run before.
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(&home)?;
    let program = target().join("debug/nexarch");
    let key = prepare(&program, &home)?;
    let server = Server::start(&program, &home)?;
    let tool = environment.folder().join("bin/schemathesis");
    let outcome = run(command(tool)
        .args(["run", "docs/openapi.json", "--no-color", "--seed", SEED, "--max-examples", EXAMPLES])
        .args(["--phases", "examples,coverage,fuzzing", "--generation-database", "none"])
        .args(["--checks", CHECKS, "--exclude-path", STREAM])
        .args(["--request-timeout", "30", "--warnings", "off", "--continue-on-failure"])
        .args(["--url", &server.base, "--header", &format!("X-API-Key:{key}")])
        .args(["--header", &format!("X-Admin-Key:{ADMIN_KEY}")]));
    drop(server);
    outcome
}

/// What is looked at in each answer. Not whether everything that fits the document is taken: it says what a text is, and
/// not which texts are a time or a window.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";

/// Runs the program in its folder with nothing in its environment but where the database is.
fn nexarch(program: &Path, home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(home).env_clear();
    let url = format!("sqlite://{}", home.join("check.db").display());
    for (name, value) in [
        ("DATABASE_URL", url.as_str()),
        ("PORT", "0"),
        ("OTLP_HTTP_ADDR", "off"),
        ("OTLP_GRPC_ADDR", "off"),
        ("METRICS_ADDR", "off"),
        ("ADMIN_SECRET_KEY", ADMIN_KEY),
    ] {
        command.env(name, value);
    }
    command
}

/// A tenant with a key of every scope, and spans of the fixtures; gives the key.
fn prepare(program: &Path, home: &Path) -> Result<String> {
    run(&mut nexarch(program, home, &["tenant", "create", "check"]))?;
    let made = capture(&mut nexarch(
        program,
        home,
        &["key", "create", "--tenant", "check", "--scope", "ingest,read,admin", "--json"],
    ));
    let made = made.context("no key was made")?;
    let key = made.split('"').skip_while(|word| *word != "key").nth(2).context("no key in the answer")?;
    let files = recordings()?;
    let mut import = nexarch(program, home, &["import", "--tenant", "check", "--shift-to-now"]);
    run(import.args(files))?;
    Ok(key.to_owned())
}

/// Some recordings of the fixtures.
fn recordings() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root().join(SPANS)).context(SPANS)?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    files.sort();
    files.truncate(FILES);
    if files.is_empty() {
        bail!("{SPANS} has no recordings");
    }
    Ok(files)
}

/// A running server; ended when dropped.
struct Server {
    child: Child,
    base: String,
}

impl Server {
    fn start(program: &Path, home: &Path) -> Result<Self> {
        let log = fs::File::create(home.join("server.log"))?;
        let mut child = nexarch(program, home, &["serve"]).stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        let mut this = Self { child, base: String::new() };
        for line in BufReader::new(stdout).lines() {
            if let Some((_, base)) = line?.split_once(" listening on ") {
                base.clone_into(&mut this.base);
                return Ok(this);
            }
        }
        bail!("the server did not start; see {}", home.join("server.log").display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
