//! Hashing of texts that strangers chose: xxh3 with a seed drawn per process, so that collisions cannot be planned.

use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Builds seeded hashers. `SipHash` of the standard library costs three times as much on keys of 30 bytes.
///
/// ```
/// use std::collections::HashMap;
/// use nexarch_core::hash::Seeded;
///
/// let mut ids: HashMap<&str, u32, Seeded> = HashMap::default();
/// ids.insert("cart", 1);
/// assert_eq!(ids.get("cart"), Some(&1));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        // The standard library's keys: random once per thread, cheap ever after.
        Self(RandomState::new().hash_one(0_u64))
    }
}

impl BuildHasher for Seeded {
    type Hasher = State;

    #[inline]
    fn build_hasher(&self) -> State {
        State(self.0)
    }
}

/// A running hash.
#[derive(Debug)]
pub struct State(u64);

impl State {
    #[inline]
    fn mix(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let bytes = product.to_le_bytes();
        let (mut low, mut high) = ([0; 8], [0; 8]);
        low.copy_from_slice(&bytes[..8]);
        high.copy_from_slice(&bytes[8..]);
        self.0 = u64::from_le_bytes(low) ^ u64::from_le_bytes(high).rotate_left(29);
    }
}

impl Hasher for State {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
