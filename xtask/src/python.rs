//! The virtual environment of Python in which tests run the official OpenTelemetry SDK.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::workspace::{capture, command, root, run, target};

/// The variable that tells the tests where the interpreter is.
pub(crate) const VARIABLE: &str = "NEXARCH_TEST_PYTHON";

/// Exact versions of everything, dependencies of dependencies too.
const REQUIREMENTS: &str = "crates/nexarch/tests/it/python/requirements.txt";

/// The interpreter of the environment.
pub(crate) fn interpreter() -> PathBuf {
    environment().join("bin/python")
}

fn environment() -> PathBuf {
    target().join("python")
}

/// Makes the environment anew unless it was made from the very same requirements and still works.
pub(crate) fn ensure() -> Result<()> {
    let wanted = fs::read_to_string(root().join(REQUIREMENTS)).with_context(|| REQUIREMENTS)?;
    // Written last, so that a half-made environment is never taken for a whole one.
    let stamp = environment().join("made-from.txt");
    let usable = capture(command(interpreter()).args(["-c", "import flask, grpc, opentelemetry.sdk, rotel"]))
        .is_some();
    if usable && fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        println!("kept: {}", environment().display());
        return Ok(());
    }
    println!("making: {}", environment().display());
    run(command("python3").args(["-m", "venv", "--clear"]).arg(environment()))?;
    run(command(interpreter())
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--requirement",
        ])
        .arg(REQUIREMENTS))?;
    run(command(interpreter()).args(["-m", "pip", "check", "--quiet", "--disable-pip-version-check"]))?;
    fs::write(&stamp, wanted).context("cannot mark the environment as made")
}
