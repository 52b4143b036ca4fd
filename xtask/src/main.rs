//! Development commands of the workspace: `cargo xtask help` lists them.

mod api;
mod bench;
mod cargo;
mod fuzz;
mod node;
mod packages;
mod proof;
mod python;
mod report;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};
use report::Report;

const HELP: &str = "\
Development commands. Each exits 0 when every step passed and 1 when one failed.

  cargo xtask test [-- ARGS]      every ordinary test; installs or names the Debian packages it needs
  cargo xtask proof [NAME]        longer proofs, all or one: properties (every property test with 50 times the cases),
                                  fuzz (the readers of foreign bytes against damaged files, a minute each), cache (its
                                  model, schedules, real servers and nodes; prints what was explored)
  cargo xtask bench [NAME]        the numbers of docs/performance.md, all or one (build: only by its name)
  cargo xtask ci                  fmt, clippy, deny, docs, test, api: what .ci/run calls
  cargo xtask api                 the server against its OpenAPI document, by schemathesis; about two minutes
  cargo xtask fmt                 formatting, checked only
  cargo xtask clippy              lints of all targets; a warning fails
  cargo xtask deny [--advisories] licences, bans and sources of dependencies; advisories need the network
  cargo xtask docs                documentation of all crates; a warning fails
  cargo xtask help                this text

ARGS go to `cargo test`: `cargo xtask test -- -p nexarch --test it crash`
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs one command line and says whether every step passed; an error is a wrong usage.
fn run(args: &[String]) -> Result<bool> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut report = Report::new();
    match words.as_slice() {
        ["help" | "--help" | "-h"] | [] => {
            print!("{HELP}");
            return Ok(true);
        }
        ["test"] => test(&mut report, &[]),
        ["test", "--", rest @ ..] => test(&mut report, rest),
        ["ci"] => {
            report.step("fmt", cargo::fmt);
            report.step("clippy", cargo::clippy);
            report.step("deny", || tools::deny(&tools::OFFLINE_CHECKS));
            report.step("docs", cargo::docs);
            test(&mut report, &[]);
            api(&mut report);
        }
        ["api"] => {
            report.step("packages", packages::ensure);
            api(&mut report);
        }
        ["proof"] => {
            report.step("properties", cargo::properties);
            report.step("fuzz", fuzz::all);
            cache_proof(&mut report);
        }
        ["proof", "properties"] => report.step("properties", cargo::properties),
        ["proof", "fuzz"] => report.step("fuzz", fuzz::all),
        ["proof", "cache"] => cache_proof(&mut report),
        ["bench"] => report.step("bench", || bench::bench(None)),
        ["bench", name] => report.step("bench", || bench::bench(Some(name))),
        ["fmt"] => report.step("fmt", cargo::fmt),
        ["clippy"] => report.step("clippy", cargo::clippy),
        ["deny"] => report.step("deny", || tools::deny(&tools::OFFLINE_CHECKS)),
        ["deny", "--advisories"] => report.step("advisories", || tools::deny(&["advisories"])),
        ["docs"] => report.step("docs", cargo::docs),
        _ => bail!("unknown command `{}`; see `cargo xtask help`", words.join(" ")),
    }
    Ok(report.finish())
}

fn cache_proof(report: &mut Report) {
    report.step("packages", packages::ensure);
    if report.all_passed_since("packages") {
        proof::cache(report);
    }
}

/// Without its packages it would only fail less clearly.
fn api(report: &mut Report) {
    if report.all_passed_since("packages") {
        report.step("api", api::check);
    }
}

/// What the tests need comes first: without it they would only fail later and less clearly.
fn test(report: &mut Report, args: &[&str]) {
    report.step("packages", packages::ensure);
    if report.all_passed_since("packages") {
        report.step("python", python::ensure);
    }
    if report.all_passed_since("packages") {
        report.step("node", node::ensure);
    }
    if report.all_passed_since("packages") {
        report.step("test", || cargo::test(args));
    }
}
