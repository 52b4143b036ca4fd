//! The packages of Node.js with which tests run the official OpenTelemetry SDK.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::workspace::{command, root, run, target};

/// The variable that tells the tests where the packages are.
pub(crate) const VARIABLE: &str = "NEXARCH_TEST_NODE";

/// Exact versions and checksums of everything, dependencies of dependencies too.
const LOCK: &str = "crates/nexarch/tests/it/node/package-lock.json";
const MANIFEST: &str = "crates/nexarch/tests/it/node/package.json";

/// The folder that holds `node_modules`.
pub(crate) fn folder() -> PathBuf {
    target().join("node")
}

/// Installs the packages anew unless they were installed from the very same lock file.
pub(crate) fn ensure() -> Result<()> {
    let wanted = fs::read_to_string(root().join(LOCK)).with_context(|| LOCK)?;
    // Written last, so that a half-made folder is never taken for a whole one.
    let stamp = folder().join("made-from.json");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        println!("kept: {}", folder().display());
        return Ok(());
    }
    println!("making: {}", folder().display());
    fs::create_dir_all(folder()).context("cannot make the folder")?;
    for file in [MANIFEST, LOCK] {
        let name = file.rsplit('/').next().unwrap_or(file);
        fs::copy(root().join(file), folder().join(name)).with_context(|| file)?;
    }
    // No script of a package runs: none is needed.
    run(command("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder()))?;
    fs::write(&stamp, wanted).context("cannot mark the packages as installed")
}
