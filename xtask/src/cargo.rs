//! The steps that cargo does.

use anyhow::Result;

use crate::{
    node, python,
    workspace::{command, run},
};

/// Is everything formatted?
pub(crate) fn fmt() -> Result<()> {
    run(command("cargo").args(["fmt", "--all", "--check"]))
}

/// Lints of libraries, binaries, tests and benches.
pub(crate) fn clippy() -> Result<()> {
    run(command("cargo").args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

/// Documentation of our own crates, for those who work on them: private items too.
pub(crate) fn docs() -> Result<()> {
    run(command("cargo")
        .args(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
}

/// Cases of each property test in a proof; the ordinary run uses the tests' own numbers.
const PROOF_CASES: &str = "12800";

/// Every property test of the pure crates, many times over. `PROPTEST_CASES` wins over the default of a test.
pub(crate) fn properties() -> Result<()> {
    run(command("cargo")
        .args(["test", "--locked", "--release", "-p", "nexarch-core", "-p", "nexarch-store"])
        .env("PROPTEST_CASES", PROOF_CASES))
}

/// Unit, integration and documentation tests of the workspace, or of what `args` select.
pub(crate) fn test(args: &[&str]) -> Result<()> {
    let selection: &[&str] = if args.is_empty() { &["--workspace"] } else { args };
    run(command("cargo")
        .args(["test", "--locked"])
        .args(selection)
        .env(python::VARIABLE, python::interpreter())
        .env(node::VARIABLE, node::folder()))
}
