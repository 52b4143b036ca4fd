//! The identity (R1) and the version of a span in a few bytes, for traces too large to be loaded.

use nexarch_core::facts::Facts;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Hash of an identity inside its trace. 128 bits with the database's own random seed: nobody can make two spans meet,
/// and by chance two of 2^32 spans of one trace do so once in 2^65 databases. So it stands for the identity.
pub(crate) type Key = [u8; 16];

/// What [`Facts::supersedes`] looks at, so that the order of bytes is its order: end, error, content.
pub(crate) type Version = [u8; 17];

/// What the index holds of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The best stored version.
    pub(crate) version: Version,
    /// How many versions are stored.
    pub(crate) stored: u32,
}

impl Stamp {
    /// As bytes: the version, and behind it how many there are when there are several.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.version.to_vec();
        if self.stored > 1 {
            // Never more than the limit on them.
            bytes.push(u8::try_from(self.stored).unwrap_or(u8::MAX));
        }
        bytes
    }

    /// The opposite of [`Stamp::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk()?;
        match rest {
            [] => Some(Self { version: *version, stored: 1 }),
            [stored] => Some(Self { version: *version, stored: u32::from(*stored) }),
            _ => None,
        }
    }
}

/// The key of a span.
pub(crate) fn key(seed: u64, facts: &Facts) -> Key {
    let mut text = Vec::with_capacity(96);
    text.extend_from_slice(&facts.trace_id.to_bytes());
    text.extend_from_slice(&facts.span_id.to_bytes());
    text.extend_from_slice(&facts.start_ns.to_le_bytes());
    text.extend_from_slice(&facts.instance.to_le_bytes());
    text.push(facts.kind.side() as u8);
    text.extend_from_slice(facts.service.as_bytes());
    xxh3_128_with_seed(&text, seed).to_be_bytes()
}

/// The version of a span.
pub(crate) fn version(facts: &Facts) -> Version {
    let mut version = [0; 17];
    version[..8].copy_from_slice(&facts.end_ns().to_be_bytes());
    version[8] = u8::from(facts.error);
    version[9..].copy_from_slice(&facts.content.to_be_bytes());
    version
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::spans;

    #[test]
    fn the_order_of_versions_is_that_of_facts() {
        let base = Facts::from(&spans::span(1, 1, 0));
        let long = Facts { duration_ns: base.duration_ns.map(|ns| ns + (1 << 40)), ..base.clone() };
        let failed = Facts { error: true, ..base.clone() };
        let other = Facts { content: base.content.wrapping_add(1), ..base.clone() };
        let all = [base, long, failed, other];
        for a in &all {
            for b in &all {
                assert_eq!(a.supersedes(b), version(a) > version(b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_stamp_comes_back() {
        let version = version(&Facts::from(&spans::span(1, 1, 0)));
        for stored in [1, 2, 16, 255] {
            let stamp = Stamp { version, stored };
            assert_eq!(Stamp::from_bytes(&stamp.to_bytes()), Some(stamp));
        }
        assert_eq!(Stamp { version, stored: 1 }.to_bytes(), version, "as it always was");
        assert_eq!(Stamp::from_bytes(&[0; 16]), None);
        assert_eq!(Stamp::from_bytes(&[0; 19]), None);
    }

    #[test]
    fn a_key_tells_what_an_identity_tells() {
        let base = Facts::from(&spans::span(1, 1, 0));
        let others = [
            Facts { trace_id: spans::trace_id(2), ..base.clone() },
            Facts { span_id: spans::span_id(2), ..base.clone() },
            Facts { start_ns: base.start_ns + 1, ..base.clone() },
            base.clone().with(|it| it.instance = base.instance + 1),
            Facts { kind: nexarch_core::span::Kind::Client, ..base.clone() },
            base.clone().with(|it| it.service = "other".into()),
        ];
        for other in &others {
            assert_ne!(key(7, other), key(7, &base), "{other:?}");
        }
        assert_ne!(key(7, &base), key(8, &base), "the seed is part of it");
        let same = Facts { error: true, content: 0, ..base.clone() }.with(|it| it.name = "other".into());
        assert_eq!(key(7, &same), key(7, &base));
    }
}
