//! The parsers of what others may have written, as pure functions.

use crate::authority::ScopeVersions;
use crate::envelope::{Codec, Place, unpack};
use crate::fence::Epoch;
use crate::key::Scope;
use crate::message::Message;
use crate::seal::Sealer;
use bytes::Bytes;

/// The largest body that [`read_envelope`] accepts, in bytes.
const MAX_BODY: usize = 1 << 20;

/// Reads `data` as an envelope of the shared tier, sealed and not, as of the time 0. Whatever it is: no panic, and no more
/// than 1 MiB of body. Returns the length of the body if it is one.
pub fn read_envelope(data: &[u8]) -> Option<usize> {
    let value = Bytes::copy_from_slice(data);
    let sealer = Sealer::new(&[7; 32]);
    let read = |sealer| {
        let place = Place { key: "n:t:o:0", params: "p", fingerprint: 0, codec: Codec::Bytes, sealer };
        unpack(&place, 0, MAX_BODY, &value).ok().map(|(_, body)| body.len())
    };
    read(None).or_else(|| read(Some(&sealer)))
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
