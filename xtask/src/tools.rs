//! Tools that are not part of a Rust installation.

use std::path::PathBuf;

use anyhow::Result;

use crate::workspace::{capture, command, run, target};

/// The oldest cargo-deny whose verdict counts, and the one that is installed when there is none.
const CARGO_DENY: (u32, u32, u32) = (0, 20, 2);

/// The checks that need no network beyond the crates themselves. Advisories are read from a database on the network,
/// and what it says changes without any change here, so they are a command of their own.
pub(crate) const OFFLINE_CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// Checks the dependencies against `deny.toml`.
pub(crate) fn deny(checks: &[&str]) -> Result<()> {
    let tool = cargo_deny()?;
    // A rule about a crate that is not in use yet is no mistake.
    let quiet = ["--hide-inclusion-graph", "--allow", "unused-wrapper"];
    run(command(tool).args(["--all-features", "--locked", "check"]).args(quiet).args(checks))
}

/// An installed cargo-deny that is new enough, else our own under `target/tools`, built on first use (some minutes).
fn cargo_deny() -> Result<PathBuf> {
    let own = target().join("tools/bin/cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), own.clone()] {
        let version = capture(command(&candidate).arg("--version"));
        if version.as_deref().and_then(parse_version).is_some_and(|found| found >= CARGO_DENY) {
            return Ok(candidate);
        }
    }
    let (major, minor, patch) = CARGO_DENY;
    let version = format!("={major}.{minor}.{patch}");
    println!("installing cargo-deny {version} into {}", target().join("tools").display());
    run(command("cargo")
        .args(["install", "cargo-deny", "--locked", "--no-default-features", "--version", &version, "--root"])
        .arg(target().join("tools")))?;
    Ok(own)
}

/// Takes `cargo-deny 0.20.2` apart.
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse_version("cargo-deny 0.20.2"), Some((0, 20, 2)));
        assert!(parse_version("cargo-deny 0.9.10") < Some(CARGO_DENY));
        assert_eq!(parse_version("cargo-deny"), None);
    }
}
