//! `cargo xtask proof fuzz`: the readers of foreign bytes against damaged ones.

use anyhow::Result;

use crate::workspace::{command, run};

/// The functions of `fuzz/src/lib.rs`.
const TARGETS: [&str; 4] = ["otlp_protobuf", "otlp_json", "zipkin", "jaeger"];

/// Those of the cache. Without `cargo fuzz` their seeds are made, damaged and read by a test of the cache itself.
const CACHE_TARGETS: [&str; 5] =
    ["cache_envelope", "cache_message", "cache_typed", "redis_replies", "redis_url"];

/// How long each runs (seconds): long enough for a million inputs of most formats, short enough to be run before a change lands.
const SECONDS: &str = "60";

/// Every target: with `cargo fuzz` where it is installed, else by mutation on stable Rust.
pub(crate) fn all() -> Result<()> {
    let has_fuzz = command("cargo").args(["+nightly", "fuzz", "--version"]).output();
    if has_fuzz.is_ok_and(|output| output.status.success()) {
        return TARGETS.iter().chain(&CACHE_TARGETS).try_for_each(|target| fuzz(target));
    }
    println!("cargo-fuzz with a nightly toolchain is not installed: mutation testing instead");
    TARGETS.iter().try_for_each(|target| mutate(target))?;
    let cache = ["test", "--locked", "--release", "-p", "nexarch-cache", "--test", "it", "mutated"];
    run(command("cargo").args(cache).env(crate::proof::LONGER, "1"))
}

fn fuzz(target: &str) -> Result<()> {
    let time = format!("-max_total_time={SECONDS}");
    let fuzz = ["+nightly", "fuzz", "run", target, "--features", "libfuzzer", "--", &time];
    run(command("cargo").args(fuzz))
}

fn mutate(target: &str) -> Result<()> {
    let mutate =
        ["run", "--quiet", "--locked", "--release", "--manifest-path", "fuzz/Cargo.toml", "--bin", "mutate"];
    run(command("cargo").args(mutate).args(["--", target, SECONDS]))
}
