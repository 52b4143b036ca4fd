//! The parsers of what others may have written, as pure functions.

use crate::authority::ScopeVersions;
use crate::envelope::{Codec, Place, checksum, unpack};
use crate::fence::Epoch;
use crate::key::Scope;
use crate::message::Message;
use crate::seal::{Sealer, TAG};
use bytes::Bytes;

/// The largest body that [`read_envelope`] accepts, in bytes.
const MAX_BODY: usize = 1 << 20;

/// The name of the key under which envelopes are read here.
const KEY: &str = "n:t:o:0";

/// Reads `data` as an envelope of the shared tier, sealed and not, as of the time 0, and once more with the checksum made
/// right, as somebody would who means it. Whatever it is: no panic, and no more than 1 MiB of body. Returns the length of
/// the body if it is one.
pub fn read_envelope(data: &[u8]) -> Option<usize> {
    let sealer = Sealer::new(&[7; 32]);
    let read = |value: &Bytes, sealer| {
        let place = Place { key: KEY, params: "p", fingerprint: 0, codec: Codec::Bytes, sealer };
        unpack(&place, 0, MAX_BODY, value).ok().map(|(_, body)| body.len())
    };
    let value = Bytes::copy_from_slice(data);
    let right = || {
        let (all, _) = data.split_last_chunk::<TAG>()?;
        read(&[all, &checksum(&[KEY.as_bytes(), all])].concat().into(), None)
    };
    read(&value, None).or_else(|| read(&value, Some(&sealer))).or_else(right)
}

/// A type that contains itself in every way there is.
#[derive(serde::Deserialize)]
enum Anything {
    Nothing,
    Number(i64, f32, char, bool),
    Text { text: String, next: Option<Box<Self>> },
    Boxed(Box<Self>),
    List(Vec<Self>),
    Map(std::collections::BTreeMap<String, Self>),
    Nothings(Vec<()>),
}

impl Anything {
    fn parts(&self) -> usize {
        1 + match self {
            Self::Nothing => 0,
            Self::Number(number, fraction, letter, yes) => {
                usize::from(*number != 0 || *fraction > 0.0 || letter.is_alphabetic() || *yes)
            }
            Self::Text { text, next } => text.len() + next.as_ref().map_or(0, |next| next.parts()),
            Self::Boxed(next) => next.parts(),
            Self::List(list) => list.iter().map(Self::parts).sum(),
            Self::Map(map) => map.values().map(Self::parts).sum(),
            Self::Nothings(nothings) => nothings.len(),
        }
    }
}

/// Reads `data` as a value of a type that contains itself. Whatever it is: no panic, no deep stack, and no more work than a
/// small multiple of its length. Returns a number of its parts if it is one.
pub fn read_typed(data: &[u8]) -> Option<usize> {
    crate::bounded::from_bytes::<Anything>(data).ok().map(|value| value.parts())
}

/// The (first) message that tells other nodes of these versions, true or not.
pub fn message(epoch: Epoch, scope: &Scope, versions: &ScopeVersions) -> Bytes {
    Message::of(epoch, scope, versions).first().map(|message| message.encode().into()).unwrap_or_default()
}

/// Reads `data` as a message between nodes. Whatever it is: no panic. Returns how many versions it tells of if it is one.
pub fn read_message(data: &[u8]) -> Option<usize> {
    Message::decode(data).map(|message| message.raised.len())
}

/// Reads `data` as answers of a Redis server, those of more than `most` bytes dropped. Whatever they are: no panic, and no
/// more memory than a small multiple of what came. Returns how many answers there are before it stops making sense.
#[cfg(feature = "redis")]
pub fn read_replies(data: &[u8], most: usize) -> usize {
    let mut inbox = crate::redis::Inbox::new();
    let (mut rest, mut replies) = (data, 0);
    while !rest.is_empty() {
        let room = inbox.room();
        let count = room.len().min(rest.len());
        room[..count].copy_from_slice(&rest[..count]);
        inbox.arrived(count);
        rest = &rest[count..];
        loop {
            match inbox.next(most) {
                Ok(Some(_)) => replies += 1,
                Ok(None) => break,
                Err(_) => return replies,
            }
        }
    }
    replies
}
