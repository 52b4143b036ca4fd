//! Mutation testing of the readers on stable Rust: real files, damaged at random, go through the same functions that
//! `cargo fuzz` drives. It knows nothing of coverage, so it finds less than a fuzzer; it needs no nightly.
//!
//! `mutate TARGET SECONDS [SEED]`; the seed is printed, and the same seed damages the same files in the same way.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nexarch_core::otlp::{Rules, decode_json, encode_protobuf};

/// Larger seeds are cut to this (bytes): many small runs find more than few large ones.
const MAX_SEED: usize = 64 << 10;

/// Most edits of one run.
const MAX_EDITS: u64 = 12;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (target, seconds) = match &args[..] {
        [target, seconds, ..] => (target.as_str(), seconds.parse().expect("SECONDS is a number")),
        _ => panic!("usage: mutate TARGET SECONDS [SEED]"),
    };
    let run: fn(&[u8]) = match target {
        "otlp_protobuf" => nexarch_fuzz::otlp_protobuf,
        "otlp_json" => nexarch_fuzz::otlp_json,
        "zipkin" => nexarch_fuzz::zipkin,
        "jaeger" => nexarch_fuzz::jaeger,
        _ => panic!("unknown target {target}"),
    };
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "no seeds for {target}");
    let seed = args.get(2).map_or(1, |seed| seed.parse().expect("SEED is a number"));
    let mut chance = Chance(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runs = 0u64;
    while Instant::now() < end {
        for _ in 0..64 {
            let body = chance.damaged(&seeds);
            let whole = body.clone();
            if std::panic::catch_unwind(move || run(&body)).is_err() {
                let path = format!("crash-{target}-{seed}-{runs}");
                fs::write(&path, whole).expect("the input can be written");
                panic!("{target}: run {runs} of seed {seed} failed; its input is in {path}");
            }
            runs += 1;
        }
    }
    println!("{target}: {runs} runs from {} files, seed {seed}: no failure", seeds.len());
}

/// Real files of the target's format.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = match target {
        "otlp_protobuf" | "otlp_json" => "otlp",
        other => other,
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the fixtures are there")
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    let read = |file: PathBuf| {
        let mut body = fs::read(file).expect("a fixture can be read");
        if target == "otlp_protobuf" {
            body = encode_protobuf(
                &decode_json(&body.into(), &Rules::default()).expect("a fixture is good").spans,
            );
        }
        body.truncate(MAX_SEED);
        body
    };
    files.into_iter().map(read).collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Chance(u64);

/// Bytes that mean something in one of the formats.
const TELLING: &[u8] = b"{}[]\",:\\0-9eE\x00\x0a\x12\x1a\x7f\x80\xff";

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        if self.next() % 2 == 0 { TELLING[self.below(TELLING.len())] } else { self.next().to_le_bytes()[0] }
    }

    fn damaged(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut body = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.next() % MAX_EDITS {
            let at = self.below(body.len());
            let end = (at + self.below(200)).min(body.len());
            match self.next() % 7 {
                0 if !body.is_empty() => body[at] = self.byte(),
                1 if !body.is_empty() => body[at] ^= 1 << (self.next() % 8),
                2 => body.insert(at, self.byte()),
                3 => drop(body.drain(at..end)),
                4 => body.extend_from_within(at..end),
                5 => body.truncate(at),
                _ => {
                    // A part of another file.
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    let part = other[from..(from + self.below(200)).min(other.len())].to_vec();
                    body.splice(at..end, part);
                }
            }
        }
        body
    }
}
