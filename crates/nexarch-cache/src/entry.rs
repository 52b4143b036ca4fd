//! A stored value and what is known of it.

use crate::clock::BootTime;
use crate::fence::Fence;
use crate::key::push_hex;
use crate::variant::Variants;
use bytes::Bytes;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128;

/// What an entry costs beyond its body and parameters, in bytes: the entry itself, its slot and its place in the
/// index, rounded up.
const OVERHEAD: usize = 436;

/// Room beyond its length that a body may hold before it is worth a copy, in bytes.
const SPARE: usize = 64;

/// The most of a TTL that jitter takes away: one part in ten, so that what was computed together does not expire
/// together.
const JITTER_PARTS: u64 = 10;

/// A computed value. What it says is never changed once it is shared.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Compared on every read: two parameters with the same hash are two entries.
    pub(crate) params: Arc<str>,
    pub(crate) body: Bytes,
    pub(crate) etag: Etag,
    /// What the computation saw.
    pub(crate) label: Fence,
    /// The newest version that the content surely contains.
    pub(crate) contains: u64,
    /// When the computation *began*: what came later may be missing.
    pub(crate) computed_at: BootTime,
    /// Until when it is served.
    pub(crate) expires: BootTime,
    /// Until when it may stand in for a failed computation.
    pub(crate) dies: BootTime,
    /// What it took to compute.
    pub(crate) cost: Duration,
    /// It says that there is nothing.
    pub(crate) negative: bool,
    /// From when on a hit may refresh it behind.
    pub(crate) early: BootTime,
    /// A hit did.
    pub(crate) refreshing: AtomicBool,
    /// Other forms of the body; not in its weight, but charged as they come.
    pub(crate) variants: Variants,
}

impl Entry {
    /// Bytes that keeping it takes.
    pub(crate) fn weight(&self) -> u64 {
        (OVERHEAD + self.params.len() + Etag::LENGTH + self.body.len()) as u64
    }

    #[inline]
    pub(crate) fn fresh(&self, now: BootTime) -> bool {
        now < self.expires
    }

    pub(crate) fn dead(&self, now: BootTime) -> bool {
        now >= self.dies
    }

    pub(crate) fn age(&self, now: BootTime) -> Duration {
        now.since(self.computed_at)
    }
}

/// A body that is kept takes its length, or an eighth more: what is counted is the length, and who made it may have reserved
/// much more (an encoder that doubles its room, a compressor that begins with room for what will not get smaller). What
/// others hold as well is theirs to know.
pub(crate) fn snug(body: Bytes) -> Bytes {
    match body.try_into_mut() {
        Ok(body) if body.capacity() - body.len() > body.len() / 8 + SPARE => Bytes::copy_from_slice(&body),
        Ok(body) => body.freeze(),
        Err(shared) => shared,
    }
}

/// A weak validator, `W/"32 hex digits"`, of the body alone: the same body, the same text, on every node. Made when it is
/// first asked for: who reads bodies alone, as a library does, needs none.
#[derive(Debug, Default)]
pub(crate) struct Etag(OnceLock<Box<str>>);

impl Etag {
    /// Its length in bytes.
    const LENGTH: usize = 36;

    /// Made at once, as for a large body, on a thread that may be kept busy.
    pub(crate) fn of(body: &[u8]) -> Self {
        Self(OnceLock::from(etag(body)))
    }

    pub(crate) fn get(&self, body: &[u8]) -> &str {
        self.0.get_or_init(|| etag(body))
    }
}

fn etag(body: &[u8]) -> Box<str> {
    let mut tag = String::with_capacity(Etag::LENGTH);
    tag.push_str("W/\"");
    push_hex(&mut tag, xxh3_128(body));
    tag.push('"');
    tag.into()
}

/// `ttl` less 0 to 10 %, chosen by `chance`.
pub(crate) fn jittered(ttl: Duration, chance: u64) -> Duration {
    const STEPS: u64 = 1 << 20;
    let span = crate::clock::nanos(ttl) / JITTER_PARTS;
    let step = chance % STEPS;
    let less = u128::from(span) * u128::from(step) / u128::from(STEPS);
    ttl.saturating_sub(Duration::from_nanos(u64::try_from(less).unwrap_or(span)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn jitter_takes_at_most_a_tenth(seconds in 0u64..1_000_000_000, chance: u64) {
            let ttl = Duration::from_secs(seconds);
            let shorter = jittered(ttl, chance);
            prop_assert!(shorter <= ttl && shorter >= ttl.mul_f64(0.899_999));
        }
    }

    #[test]
    fn a_body_that_is_kept_holds_no_room_that_is_not_counted() {
        let held = |body: Bytes| body.try_into_mut().unwrap().capacity();
        let mut wasteful = Vec::with_capacity(1 << 20);
        wasteful.extend_from_slice(b"0123456789");
        let body = snug(wasteful.into());
        assert_eq!(&*body, b"0123456789");
        assert!(held(body) <= 10 + SPARE);
        let exact = vec![7; 1000];
        let at = exact.as_ptr();
        let body = snug(exact.into());
        assert_eq!((body.as_ptr(), body.len()), (at, 1000), "not copied");
        assert_eq!(snug(Bytes::from_static(b"static")), "static");
        assert_eq!(snug(Bytes::new()), "");
    }

    #[test]
    fn jitter_spreads() {
        let ttl = Duration::from_secs(100);
        let seconds: std::collections::BTreeSet<u64> =
            (0..1000u64).map(|n| jittered(ttl, n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).as_secs()).collect();
        assert!(seconds.len() >= 9, "{seconds:?}");
    }
}
