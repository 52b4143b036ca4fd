//! Official SDKs as processes that a test tells what to send, and rotel, a collector that forwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use super::{
    client::Client,
    oracle::{beside, python},
    wait,
};

/// Which SDK, speaking what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sdk {
    PythonGrpc,
    PythonHttp,
    NodeJson,
    NodeProto,
    NodeGrpc,
}

/// Span ids by trace id.
pub(crate) type Ids = BTreeMap<String, BTreeSet<String>>;

/// A running SDK. Killed when dropped.
pub(crate) struct Sender {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    log: Arc<Mutex<String>>,
    /// Everything that it said it made.
    pub(crate) made: Ids,
}

impl Sender {
    /// Starts an SDK that sends to `endpoint`, such as `http://127.0.0.1:4317`.
    pub(crate) fn start(sdk: Sdk, endpoint: &str, key: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = match sdk {
            Sdk::PythonGrpc | Sdk::PythonHttp => {
                let mut command = Command::new(python());
                command.arg(beside("python/send.py"));
                command.env("EXPORTER", if sdk == Sdk::PythonGrpc { "grpc" } else { "http" });
                command
            }
            Sdk::NodeJson | Sdk::NodeProto | Sdk::NodeGrpc => {
                let mut command = Command::new("node");
                command.arg(beside("node/send.js")).env("PACKAGES", packages());
                let name = match sdk {
                    Sdk::NodeJson => "http",
                    Sdk::NodeProto => "proto",
                    _ => "grpc",
                };
                command.env("EXPORTER", name);
                command
            }
        };
        // Set on some machines; the Python library would trust it instead of what it is told to trust.
        for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
            command.env_remove(name);
        }
        command
            .env("OTEL_SERVICE_NAME", "sender")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-api-key={key}"))
            // Until a refusal that should end has ended; both SDKs give up by this time alone.
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", if command_is_python(sdk) { "60" } else { "60000" })
            .env("OTEL_BSP_EXPORT_TIMEOUT", "60000")
            .envs(settings.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{sdk:?}: {error}: `cargo xtask test` needs the Debian packages nodejs and npm")
            });
        let log = follow(child.stderr.take().unwrap());
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout, log, made: Ids::new() }
    }

    fn ask(&mut self, line: &str) -> Value {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer:?}\n{}", self.log()))
    }

    /// Makes spans; they are sent when the SDK likes.
    pub(crate) fn make(&mut self, count: u64) {
        for pair in self.ask(&count.to_string()).as_array().unwrap() {
            let text = |at: usize| pair[at].as_str().unwrap().to_owned();
            self.made.entry(text(0)).or_default().insert(text(1));
        }
    }

    /// Sends what waits and says whether that worked.
    pub(crate) fn flush(&mut self) -> bool {
        self.ask("flush").as_bool().unwrap()
    }

    /// What it complained about.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Lets it flush and end, and returns what it made.
    pub(crate) fn finish(mut self) -> Ids {
        drop(self.stdin.take());
        let status = wait::until("the end of an SDK", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}\n{}", self.log());
        std::mem::take(&mut self.made)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        end(&mut self.child);
        if thread::panicking() {
            eprintln!("── log of the SDK\n{}", self.log());
        }
    }
}

fn command_is_python(sdk: Sdk) -> bool {
    matches!(sdk, Sdk::PythonGrpc | Sdk::PythonHttp)
}

/// The folder that `cargo xtask test` installed the SDK for Node.js into.
#[expect(clippy::disallowed_methods, reason = "xtask hands the folder over in this variable")]
fn packages() -> String {
    std::env::var("NEXARCH_TEST_NODE")
        .expect("NEXARCH_TEST_NODE is not set: run `cargo xtask test`, which needs the Debian packages nodejs and npm")
}

/// Asserts that a tenant holds exactly these spans, each once.
#[track_caller]
pub(crate) fn assert_holds(client: &Client, sent: &Ids) {
    let spans: usize = sent.values().map(BTreeSet::len).sum();
    let stats = client.get("/api/v1/ingest/stats").ok();
    assert_eq!(stats["total_spans"], spans, "{stats}");
    assert_eq!(stats["total_traces"], sent.len(), "{stats}");
    for (trace, ids) in sent {
        let stored = client.get(&format!("/api/v1/traces/{trace}")).ok();
        let stored: Vec<&str> = stored["spans"]
            .as_array()
            .unwrap()
            .iter()
            .map(|span| span["span_id"].as_str().unwrap())
            .collect();
        assert_eq!(stored.len(), ids.len(), "trace {trace}");
        assert!(stored.iter().all(|id| ids.contains(*id)), "trace {trace}: {stored:?} for {ids:?}");
    }
}

/// rotel, an OpenTelemetry collector: takes OTLP/HTTP and forwards it packed with gzip.
pub(crate) struct Rotel {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Where it takes OTLP/HTTP.
    pub(crate) endpoint: String,
}

impl Rotel {
    /// Starts it in front of `target`; `protocol` is `http` or `grpc`.
    pub(crate) fn start(target: &str, protocol: &str, key: &str) -> Self {
        let script = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
        let output = Command::new(python()).args(["-c", script]).output().unwrap();
        let program = String::from_utf8(output.stdout).unwrap();
        assert!(Path::new(program.trim()).is_file(), "rotel is missing: {program} {:?}", output.stderr);
        let [grpc, http] = [free_port(), free_port()];
        let mut child = Command::new(program.trim())
            .arg("start")
            .args(["--otlp-grpc-endpoint", &grpc, "--otlp-http-endpoint", &http])
            .args(["--exporter", "otlp", "--otlp-exporter-endpoint", target])
            .args(["--otlp-exporter-protocol", protocol, "--otlp-exporter-compression", "gzip"])
            .args(["--otlp-exporter-custom-headers", &format!("x-api-key={key}")])
            .args(["--otlp-exporter-retry-initial-backoff", "300ms"])
            .args(["--otlp-exporter-retry-max-backoff", "2s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = follow(child.stderr.take().unwrap());
        let this = Self { child, log, endpoint: format!("http://{http}") };
        wait::until("rotel", || std::net::TcpStream::connect(&http).ok());
        this
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        end(&mut self.child);
        if thread::panicking() {
            eprintln!("── log of rotel\n{}", self.log.lock().unwrap());
        }
    }
}

/// A port that was free a moment ago, for a program that cannot pick one itself.
fn free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn follow(mut from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let log = Arc::<Mutex<String>>::default();
    let copy = Arc::clone(&log);
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut piece) {
            copy.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..len]));
        }
    });
    log
}

fn end(child: &mut Child) {
    // Already gone is fine.
    let _ = child.kill();
    let _ = child.wait();
}
