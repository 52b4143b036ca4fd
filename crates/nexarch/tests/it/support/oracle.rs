//! The second opinion: `oracle/graph.py` counts files without any of our code.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use serde_json::Value;

use super::map::Calls;

/// The interpreter that `cargo xtask test` made; without it the test fails and says so.
#[expect(clippy::disallowed_methods, reason = "xtask hands the interpreter over in this variable")]
pub(crate) fn python() -> String {
    std::env::var("NEXARCH_TEST_PYTHON").expect(
        "NEXARCH_TEST_PYTHON is not set: run `cargo xtask test`, which needs the Debian package python3-venv",
    )
}

/// A file beside the tests.
pub(crate) fn beside(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(path).to_str().unwrap().to_owned()
}

/// What the script counted.
pub(crate) struct Counted(Value);

/// Counts OTLP files.
pub(crate) fn count(files: &[&str]) -> Counted {
    let output = Command::new(python()).arg(beside("oracle/graph.py")).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Counted(serde_json::from_slice(&output.stdout).unwrap())
}

impl Counted {
    fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("{name} in {}", self.0))
    }

    /// Spans in the files, repeated ones too.
    pub(crate) fn spans(&self) -> u64 {
        self.number("spans")
    }

    /// Spans by R1.
    pub(crate) fn distinct(&self) -> u64 {
        self.number("distinct")
    }

    pub(crate) fn traces(&self) -> u64 {
        self.number("traces")
    }

    pub(crate) fn crossings(&self) -> u64 {
        self.number("crossings")
    }

    /// From the first start to the last start, nanoseconds.
    pub(crate) fn spread_ns(&self) -> u64 {
        self.number("newest_start_ns") - self.number("oldest_start_ns")
    }

    pub(crate) fn services(&self) -> BTreeSet<String> {
        self.0["services"].as_object().unwrap().keys().cloned().collect()
    }

    /// Calls by source and target.
    pub(crate) fn calls(&self) -> Calls {
        let edges = self.0["edges"].as_array().unwrap().iter();
        edges
            .map(|edge| {
                let name = |at: usize| edge[at].as_str().unwrap().to_owned();
                ((name(0), name(1)), edge[2].as_u64().unwrap())
            })
            .collect::<BTreeMap<_, _>>()
    }
}
