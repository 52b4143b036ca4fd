//! What others may have written, damaged at random: values and messages of the shared tier, and addresses of it. Real
//! ones are the seeds; the same functions are the targets of `fuzz/`.

use crate::cluster::{cluster, cluster_with};
use crate::support::{TTL, text};
use nexarch_cache::testing::{Rng, message, read_envelope, read_message};
use nexarch_cache::{Epoch, ScopeVersions};

/// Damaged inputs of each kind.
const RUNS: u64 = 20_000;

/// The same where each input is a whole read.
const READS: u64 = 2_000;

/// How many times more a proof runs.
const PROOF: u64 = 30;

/// Most edits of one input.
const MAX_EDITS: u64 = 6;

/// `NEXARCH_PROOF` asks for the longer run.
fn runs(ordinary: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is not configuration of the product")]
    let proof = std::env::var_os("NEXARCH_PROOF").is_some();
    if proof { ordinary * PROOF } else { ordinary }
}

/// Turns, replaces, removes, repeats and adds bytes.
fn damage(rng: &mut Rng, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=rng.below(MAX_EDITS) {
        let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
        let byte = rng.next().to_le_bytes()[0];
        match rng.below(6) {
            _ if bytes.is_empty() => bytes.push(byte),
            0 => bytes[at] ^= 1 << (byte % 8),
            1 => bytes[at] = byte,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, byte),
            4 => bytes[at] = [0, 0xff, 0x7f, 0x80][usize::from(byte % 4)],
            _ => {
                let end = bytes.len().min(at + usize::from(byte));
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Whatever was damaged, the reader gets what the database says, from a computation or a value that is whole.
#[tokio::test(start_paused = true)]
async fn a_damaged_value_is_a_miss_or_whole() {
    for key in [None, Some([7; 32])] {
        let cluster = cluster_with(1, |builder| match &key {
            None => builder,
            Some(key) => builder.encryption_key(key),
        });
        let one = &cluster.nodes[0];
        one.read().await.unwrap();
        let (name, value) = cluster.only();
        let mut rng = Rng::new(1);
        for run in 0..runs(READS) {
            let planted = damage(&mut rng, &value);
            one.cache.forget(&cluster.acme);
            cluster.hub.plant(&name, planted.into(), TTL);
            let answer = one.read().await.unwrap();
            assert_eq!(text(&answer), cluster.now(), "run {run}");
        }
        // Sealed or not: a byte more or less never opens, so nearly all were computed.
        assert!(cluster.computed() as u64 > runs(READS) * 9 / 10, "{}", cluster.computed());
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_bytes_are_read_without_panic() {
    let cluster = cluster(1);
    let scope = cluster.acme.clone();
    cluster.nodes[0].read().await.unwrap();
    let (_, value) = cluster.only();
    let versions = ScopeVersions {
        clock: 9,
        data: 7,
        all: 8,
        operations: vec![("overview".into(), 9), ("a".into(), 1)],
    };
    let told = message(Epoch::new(7), &scope, &versions);
    assert!(read_message(&told).is_some());
    let mut rng = Rng::new(2);
    for _ in 0..runs(RUNS) {
        read_envelope(&damage(&mut rng, &value));
        read_message(&damage(&mut rng, &told));
    }
}

#[cfg(feature = "redis")]
#[test]
fn damaged_addresses_are_read_without_panic_and_errors_keep_the_secret() {
    let seeds = [
        "redis://app:s3cr3tword@cache.example.com:6379/2",
        "rediss://:s3cr3tword@[2001:db8::1]:6380",
        "redis://localhost",
        "cache.example.com:6380,password=s3cr3tword,ssl=True,abortConnect=False,sslProtocols=Tls12|Tls13",
        "password=s3cr3tword,[2001:db8::1]:7000,user=app,defaultDatabase=2,$CLUSTER=,connectTimeout=900",
    ];
    let mut rng = Rng::new(3);
    let mut read = 0;
    for run in 0..runs(RUNS) {
        let seed = seeds[usize::try_from(run).unwrap() % seeds.len()];
        let damaged = String::from_utf8_lossy(&damage(&mut rng, seed.as_bytes())).into_owned();
        match nexarch_cache::RedisConfig::from_url(&damaged) {
            Ok(config) => {
                read += 1;
                // Where the secret became a name, it is none.
                let named = damaged.contains(":s3cr3tword@") || damaged.contains("password=s3cr3tword,");
                let secret = named && damaged.matches("s3cr3tword").count() == 1;
                assert!(
                    !secret || !format!("{config} {config:?} {:?}", config.warnings()).contains("s3cr3tword"),
                    "{damaged:?}"
                );
                let again = nexarch_cache::RedisConfig::from_url(&config.url());
                assert_eq!(again.map(|again| again.url()).ok(), Some(config.url()), "{damaged:?}");
            }
            Err(error) => {
                assert!(!format!("{error} {error:?}").contains("s3cr3tword"), "{damaged:?}: {error}");
            }
        }
    }
    assert!(read > 100, "hardly one of the damaged is an address: {read}");
}
