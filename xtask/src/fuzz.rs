//! `cargo xtask proof fuzz`: the readers of spans against damaged files.

use anyhow::Result;

use crate::workspace::{command, run};

/// The functions of `fuzz/src/lib.rs`.
const TARGETS: [&str; 4] = ["otlp_protobuf", "otlp_json", "zipkin", "jaeger"];

/// How long each runs (seconds): long enough for a million inputs of most formats, short enough to be run before a change lands.
const SECONDS: &str = "60";

/// Every target: with `cargo fuzz` where it is installed, else by mutation on stable Rust.
pub(crate) fn all() -> Result<()> {
    let has_fuzz = command("cargo").args(["+nightly", "fuzz", "--version"]).output();
    let has_fuzz = has_fuzz.is_ok_and(|output| output.status.success());
    if !has_fuzz {
        println!("cargo-fuzz with a nightly toolchain is not installed: mutation testing instead");
    }
    for target in TARGETS {
        if has_fuzz {
            let time = format!("-max_total_time={SECONDS}");
            run(command("cargo").args([
                "+nightly",
                "fuzz",
                "run",
                target,
                "--features",
                "libfuzzer",
                "--",
                &time,
            ]))?;
        } else {
            let mutate = [
                "run",
                "--quiet",
                "--locked",
                "--release",
                "--manifest-path",
                "fuzz/Cargo.toml",
                "--bin",
                "mutate",
            ];
            run(command("cargo").args(mutate).args(["--", target, SECONDS]))?;
        }
    }
    Ok(())
}
