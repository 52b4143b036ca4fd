//! Sealing of what leaves the process: XChaCha20-Poly1305, whose nonces are long enough to be drawn at random by every
//! node for ever. (AES-256-GCM-SIV was the other candidate: it forgives a repeated nonce, but reads everything twice.)

use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use std::fmt;

/// Bytes of a nonce.
pub(crate) const NONCE: usize = 24;
/// Bytes of a tag.
pub(crate) const TAG: usize = 16;

/// A key, ready for use. Overwritten when dropped, never shown.
pub(crate) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(&(*key).into()))
    }

    /// A nonce from the system; an error when it has none to give.
    pub(crate) fn nonce() -> Result<[u8; NONCE], getrandom::Error> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        Ok(nonce)
    }

    /// Seals `text` in place; the tag vouches for it and for `beside`. `None` only for texts of 256 GiB.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE], beside: &[u8], text: &mut [u8]) -> Option<[u8; TAG]> {
        let tag = self.0.encrypt_inout_detached(&XNonce::from(*nonce), beside, text.into()).ok()?;
        Some(tag.into())
    }

    /// Opens `text` in place, unless it, `beside` or the key is not the one that it was sealed with.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE],
        beside: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Option<()> {
        self.0.decrypt_inout_detached(&XNonce::from(*nonce), beside, text.into(), &Tag::from(*tag)).ok()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_published_example_comes_out() {
        let key: [u8; 32] = std::array::from_fn(|n| 0x80 + u8::try_from(n).unwrap());
        let nonce: [u8; NONCE] = std::array::from_fn(|n| 0x40 + u8::try_from(n).unwrap());
        let beside = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let mut text = plain.to_vec();
        let sealer = Sealer::new(&key);
        let tag = sealer.seal(&nonce, &beside, &mut text).unwrap();
        assert_eq!(text[..4], [0xbd, 0x6d, 0x17, 0x9d]);
        assert_eq!(tag[..4], [0xc0, 0x87, 0x59, 0x24]);
        assert_eq!(sealer.open(&nonce, &beside, &mut text.clone(), &[0; TAG]), None);
        assert_eq!(sealer.open(&nonce, &beside, &mut text, &tag), Some(()));
        assert_eq!(text, plain);
    }

    #[test]
    fn nonces_differ_and_the_key_is_not_shown() {
        assert_ne!(Sealer::nonce().unwrap(), Sealer::nonce().unwrap());
        assert_eq!(format!("{:?}", Sealer::new(&[7; 32])), "Sealer(****)");
    }
}
