//! Virtual environments of Python: one in which tests run the official OpenTelemetry SDK, and those of tools.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::workspace::{capture, command, root, run, target};

/// The variable that tells the tests where the interpreter is.
pub(crate) const VARIABLE: &str = "NEXARCH_TEST_PYTHON";

/// What tests import.
const TESTS: Environment = Environment {
    name: "python",
    // Exact versions of everything, dependencies of dependencies too.
    requirements: "crates/nexarch/tests/it/python/requirements.txt",
    imports: "flask, grpc, opentelemetry.sdk, prometheus_client, rotel",
};

/// A virtual environment below the target folder.
pub(crate) struct Environment {
    /// Its folder.
    pub(crate) name: &'static str,
    /// The file that it is made from.
    pub(crate) requirements: &'static str,
    /// What has to be there for it to be usable.
    pub(crate) imports: &'static str,
}

impl Environment {
    /// Where it is.
    pub(crate) fn folder(&self) -> PathBuf {
        target().join(self.name)
    }

    fn interpreter(&self) -> PathBuf {
        self.folder().join("bin/python")
    }
}

/// The interpreter of the tests.
pub(crate) fn interpreter() -> PathBuf {
    TESTS.interpreter()
}

/// Makes the environment of the tests.
pub(crate) fn ensure() -> Result<()> {
    ensure_environment(&TESTS)
}

/// Makes an environment anew unless it was made from the very same requirements and still works.
pub(crate) fn ensure_environment(environment: &Environment) -> Result<()> {
    let requirements = environment.requirements;
    let wanted = fs::read_to_string(root().join(requirements)).with_context(|| requirements)?;
    let folder = environment.folder();
    // Written last, so that a half-made environment is never taken for a whole one.
    let stamp = folder.join("made-from.txt");
    let imports = format!("import {}", environment.imports);
    let usable = capture(command(environment.interpreter()).args(["-c", &imports])).is_some();
    if usable && fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        println!("kept: {}", folder.display());
        return Ok(());
    }
    println!("making: {}", folder.display());
    run(command("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
    run(command(environment.interpreter()).args(install).arg(requirements))?;
    run(command(environment.interpreter()).args([
        "-m",
        "pip",
        "check",
        "--quiet",
        "--disable-pip-version-check",
    ]))?;
    fs::write(&stamp, wanted).context("cannot mark the environment as made")
}
