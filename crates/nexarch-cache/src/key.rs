//! Names: of a scope, of an entry, and the text under which a shared tier keeps it. The only file that formats keys.

use crate::error::Error;
use crate::fence::{Epoch, Fence};
use crate::operation::OperationId;
use crate::tenants::Tenant;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// The longest name of a scope or an operation, in bytes.
pub(crate) const MAX_NAME: usize = 63;

/// Whose entries they are: a validated tenant name, `[a-z0-9][a-z0-9_-]*`, 1 to 63 bytes. Cheap to clone.
///
/// The alphabet has no character that means anything in a key, a pattern or a cluster's hash tag.
///
/// Make one and keep it: it remembers where the first cache that was asked for it keeps its entries, so that further hits
/// take no lock. What it remembers is used only as long as it is so. After the database was set back, or the cache had no
/// place for the scope for a while, a hit finds its way under a lock, like one of a new scope; a copy that is made with
/// [`Scope::new`] then remembers again.
///
/// ```
/// use nexarch_cache::Scope;
///
/// assert_eq!(Scope::new("acme")?.as_str(), "acme");
/// assert!(Scope::new("acme:x").is_err());
/// # Ok::<(), nexarch_cache::Error>(())
/// ```
#[derive(Clone)]
pub struct Scope(Arc<Named>);

struct Named {
    name: Box<str>,
    hash: u64,
    /// What a cache knows of it, so that a hit finds it without a lock. `None` in the copies that the cache itself keeps:
    /// each would keep itself alive.
    home: Option<OnceLock<Arc<Tenant>>>,
}

impl Scope {
    /// Validates a name.
    pub fn new(name: &str) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(Error::InvalidName { what: "scope", name: name.chars().take(MAX_NAME).collect() });
        }
        Ok(Self::named(name, Some(OnceLock::new())))
    }

    fn named(name: &str, home: Option<OnceLock<Arc<Tenant>>>) -> Self {
        Self(Arc::new(Named { name: name.into(), hash: xxh3_64(name.as_bytes()), home }))
    }

    /// The same name without a home.
    pub(crate) fn homeless(&self) -> Self {
        Self::named(&self.0.name, None)
    }

    /// What was settled first, by whichever cache; it may be of another one, or closed.
    #[inline]
    pub(crate) fn home(&self) -> Option<&Arc<Tenant>> {
        self.0.home.as_ref().and_then(OnceLock::get)
    }

    /// Keeps what a cache knows of it, for good: the second to come stays a guest, who asks each time.
    pub(crate) fn settle(&self, tenant: &Arc<Tenant>) {
        if let Some(home) = &self.0.home {
            home.get_or_init(|| Arc::clone(tenant));
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0.name
    }

    /// A hash of the name, the same in every process.
    pub(crate) fn hash64(&self) -> u64 {
        self.0.hash
    }
}

/// Whether `name` is `[a-z0-9][a-z0-9_-]*` and 1 to 63 bytes long.
pub(crate) fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.len() <= MAX_NAME
        && bytes.first().is_some_and(|&b| alnum(b))
        && bytes.iter().all(|&b| alnum(b) || b == b'_' || b == b'-')
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        // The name has the last word; most often it is the very same one.
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.name == other.0.name)
    }
}

impl Eq for Scope {}

impl Hash for Scope {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.0.name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

/// An entry inside its scope. The hash finds it, the full parameters kept in the entry confirm it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryKey {
    pub(crate) operation: OperationId,
    pub(crate) hash: u128,
}

impl EntryKey {
    /// The hash is keyed by the epoch, so that a name in a shared tier is of one database only, and by the hash of the
    /// type that is asked for, so that no value is read as one of another type. That of bytes is 0.
    #[inline]
    pub(crate) fn new(epoch: Epoch, operation: OperationId, params: &str, of_type: u64) -> Self {
        Self { operation, hash: xxh3_128_with_seed(params.as_bytes(), epoch.get() ^ of_type) }
    }

    /// `{namespace}:{scope}:{operation}:{32 hex digits}`.
    pub(crate) fn name(&self, namespace: &str, scope: &Scope, operation: &str) -> String {
        let parts = [namespace, ":", scope.as_str(), ":", operation, ":"];
        let mut name = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 32);
        name.extend(parts);
        push_hex(&mut name, self.hash);
        name
    }

    /// The text under which a shared tier keeps the right to compute the entry called `name` under `fence`.
    pub(crate) fn lease_name(namespace: &str, name: &str, fence: &Fence) -> String {
        let parts = [fence.epoch.get(), fence.tenant, fence.operation, fence.data];
        let bytes: Vec<u8> = parts.into_iter().flat_map(u64::to_le_bytes).collect();
        lease_of(namespace, name, xxh3_64(&bytes))
    }

    /// A number as good as random, the same for the same entry.
    pub(crate) fn chance(&self) -> u64 {
        (self.hash >> 64) as u64
    }
}

impl Hash for EntryKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half of a 128-bit hash")]
        let lower = self.hash as u64;
        // Spread by an odd constant (2^64 / golden ratio): operations differ in their lowest bits only.
        state.write_u64(lower ^ (self.operation.index() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
}

/// `{namespace}:{the entry's name, in brackets}:lease:{16 hex digits}`. In the namespace, so that whoever may write its
/// keys may take it, and in brackets, so that a cluster keeps it where it keeps the entry.
pub(crate) fn lease_of(namespace: &str, name: &str, of: u64) -> String {
    format!("{namespace}:{{{name}}}:lease:{of:016x}")
}

/// Appends 32 hex digits. By hand: formatting machinery takes as long as all the rest of finding an entry.
pub(crate) fn push_hex(text: &mut String, number: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    // They are ASCII.
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
}

/// A number that looks random for any other (`SplitMix64`).
pub(crate) const fn splitmix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Hands on the one `u64` it is given: these keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half of a 128-bit hash")]
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

pub(crate) type BuildHashed = BuildHasherDefault<Hashed>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hex_digits_are_those_of_the_formatter(number: u128) {
            let mut text = String::from("x");
            push_hex(&mut text, number);
            prop_assert_eq!(text, format!("x{number:032x}"));
        }
    }
}
