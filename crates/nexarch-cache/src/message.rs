//! What nodes tell each other about versions. Pure; hints only: a message that is lost, late or forged costs time, never
//! truth.
//!
//! ```text
//! "nxm" 1 | epoch u64 | bytes of scope u8, scope | parts u8 | part… | checksum u64
//! part:  kind u8 (0 scope, 1 data, 2 operation: bytes of name u8, name) | version u64      (little-endian)
//! ```

use crate::authority::ScopeVersions;
use crate::fence::Epoch;
use crate::key::{Scope, is_name};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 4] = *b"nxm\x01";

/// Parts of one message; more are sent in several. Keeps a message under 5 KiB.
const MAX_PARTS: usize = 64;

/// The longest message there is, in bytes: magic, epoch, scope, parts, checksum.
pub(crate) const MAX_MESSAGE: usize = 4 + 8 + 64 + 1 + MAX_PARTS * (1 + 64 + 8) + 8;

/// A version that a part of a scope has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raised {
    All(u64),
    Data(u64),
    /// By name: tables of operations may differ between nodes.
    Operation(String, u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) epoch: Epoch,
    pub(crate) scope: Scope,
    pub(crate) raised: Vec<Raised>,
}

impl Message {
    /// The messages that tell of all parts of `versions`; 0 says nothing.
    pub(crate) fn of(epoch: Epoch, scope: &Scope, versions: &ScopeVersions) -> Vec<Self> {
        let whole = [(versions.all > 0).then_some(Raised::All(versions.all))];
        let data = [(versions.data > 0).then_some(Raised::Data(versions.data))];
        let named = versions.operations.iter().filter(|(name, version)| *version > 0 && is_name(name));
        let named = named.map(|(name, version)| Raised::Operation(name.clone(), *version));
        let raised: Vec<_> = whole.into_iter().chain(data).flatten().chain(named).collect();
        let part = |raised: &[Raised]| Self { epoch, scope: scope.clone(), raised: raised.to_vec() };
        raised.chunks(MAX_PARTS).map(part).collect()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.epoch.get().to_le_bytes());
        name(&mut out, self.scope.as_str());
        out.push(u8::try_from(self.raised.len()).unwrap_or(u8::MAX));
        for raised in &self.raised {
            let version = match raised {
                Raised::All(version) => {
                    out.push(0);
                    version
                }
                Raised::Data(version) => {
                    out.push(1);
                    version
                }
                Raised::Operation(operation, version) => {
                    out.push(2);
                    name(&mut out, operation);
                    version
                }
            };
            out.extend_from_slice(&version.to_le_bytes());
        }
        out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
        out
    }

    /// `None` for anything that [`Message::encode`] does not make.
    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        if message.len() > MAX_MESSAGE {
            return None;
        }
        let (content, checksum) = message.split_last_chunk()?;
        if xxh3_64(content) != u64::from_le_bytes(*checksum) {
            return None;
        }
        let mut left = content.strip_prefix(&MAGIC)?;
        let epoch = Epoch::new(number(&mut left)?);
        let scope = Scope::new(text(&mut left)?).ok()?;
        let [parts] = bytes(&mut left)?;
        if parts == 0 || usize::from(parts) > MAX_PARTS {
            return None;
        }
        let raised = (0..parts).map(|_| part(&mut left)).collect::<Option<Vec<_>>>()?;
        left.is_empty().then_some(Self { epoch, scope, raised })
    }
}

fn part(left: &mut &[u8]) -> Option<Raised> {
    let [kind] = bytes(left)?;
    Some(match kind {
        0 => Raised::All(number(left)?),
        1 => Raised::Data(number(left)?),
        2 => {
            let operation = text(left).filter(|name| is_name(name))?.to_owned();
            Raised::Operation(operation, number(left)?)
        }
        _ => return None,
    })
}

/// Names have at most 63 bytes.
fn name(out: &mut Vec<u8>, name: &str) {
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
}

fn bytes<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = left.split_first_chunk()?;
    *left = rest;
    Some(*first)
}

fn number(left: &mut &[u8]) -> Option<u64> {
    bytes(left).map(u64::from_le_bytes)
}

fn text<'a>(left: &mut &'a [u8]) -> Option<&'a str> {
    let [length] = bytes(left)?;
    let (text, rest) = left.split_at_checked(length.into())?;
    *left = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn versions(operations: usize) -> ScopeVersions {
        let operations = (0..operations).map(|n| (format!("operation_{n}"), 5 + n as u64)).collect();
        ScopeVersions { clock: 9, data: 3, all: 4, operations }
    }

    fn messages(operations: usize) -> Vec<Message> {
        Message::of(Epoch::new(7), &Scope::new("acme").unwrap(), &versions(operations))
    }

    #[test]
    fn what_is_told_is_heard_however_much_it_is() {
        for operations in [0, 1, 62, 63, 200] {
            let told = messages(operations);
            assert_eq!(told.len(), (2 + operations).div_ceil(MAX_PARTS));
            let heard: Vec<_> =
                told.iter().map(|message| Message::decode(&message.encode()).unwrap()).collect();
            assert_eq!(heard, told);
            assert!(told.iter().all(|message| message.encode().len() <= MAX_MESSAGE));
        }
        assert!(
            Message::of(Epoch::new(7), &Scope::new("acme").unwrap(), &ScopeVersions::default()).is_empty()
        );
    }

    #[test]
    fn an_altered_message_is_none() {
        let message = messages(2).remove(0).encode();
        for bit in 0..message.len() * 8 {
            let mut message = message.clone();
            message[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Message::decode(&message), None);
        }
        for length in 0..message.len() {
            assert_eq!(Message::decode(&message[..length]), None);
        }
        assert_eq!(Message::decode(&vec![0; MAX_MESSAGE + 1]), None);
    }

    proptest! {
        #[test]
        fn garbage_with_a_checksum_does_no_harm(garbage in prop::collection::vec(any::<u8>(), 0..200), begun: bool) {
            let mut message = if begun { MAGIC.to_vec() } else { Vec::new() };
            message.extend(garbage);
            message.extend_from_slice(&xxh3_64(&message).to_le_bytes());
            if let Some(heard) = Message::decode(&message) {
                prop_assert_eq!(heard.encode(), message);
            }
        }
    }
}
