//! What is packed comes out; anything else is refused for the reason that fits.

use super::*;
use crate::fence::Epoch;
use bytes::Bytes;
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;
const NOW: u64 = 1_000;
const KEY: &str = "nexarch:acme:overview:00112233445566778899aabbccddeeff";

fn head() -> Head {
    Head {
        label: Fence { epoch: Epoch::new(7), tenant: 1, operation: 2, data: 3 },
        contains: 4,
        computed_at: 900,
        expires: 1_500,
        dies: 2_000,
        cost: Duration::from_millis(5),
        negative: false,
    }
}

fn place(sealer: Option<&Sealer>) -> Place<'_> {
    Place { key: KEY, params: "window=24h", fingerprint: 99, codec: Codec::Bytes, sealer }
}

fn packed(sealer: Option<&Sealer>, body: &[u8]) -> Bytes {
    pack(&place(sealer), [9; NONCE], &head(), body).unwrap().into()
}

fn refused(place: &Place<'_>, value: &[u8]) -> Rejected {
    unpack(place, NOW, LIMIT, &Bytes::copy_from_slice(value)).unwrap_err()
}

/// Makes the checksum fit again after the header or the payload was changed.
fn mend(value: &mut [u8]) {
    let (head, end) = value.split_at_mut(value.len() - TAG);
    let (header, payload) = head.split_at(HEADER);
    end.copy_from_slice(&checksum(&[KEY.as_bytes(), header, payload]));
}

proptest! {
    #[test]
    fn what_is_packed_comes_out(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..3000),
            (0usize..20_000).prop_map(|n| b"{\"service\":\"cart\"},".iter().copied().cycle().take(n).collect()),
        ],
        params: String,
        numbers: [u64; 9],
        negative: bool,
        seal: bool,
    ) {
        let sealer = Sealer::new(&[3; 32]);
        let place = Place { params: &params, sealer: seal.then_some(&sealer), ..place(None) };
        let [epoch, tenant, operation, data, contains, computed_at, expires, dies, cost] = numbers;
        let label = Fence { epoch: Epoch::new(epoch), tenant, operation, data };
        let cost = Duration::from_nanos(cost);
        let head = Head { label, contains, computed_at, expires, dies, cost, negative };
        let value = Bytes::from(pack(&place, [9; NONCE], &head, &body).unwrap());
        prop_assert!(value.len() <= OVERHEAD + params.len() + body.len());
        let read = unpack(&place, dies.saturating_sub(1), LIMIT, &value);
        if dies == 0 {
            prop_assert_eq!(read, Err(Rejected::Expired));
        } else {
            prop_assert_eq!(read, Ok((head, Bytes::from(body))));
        }
    }

    #[test]
    fn nothing_else_is_an_envelope(bytes in prop::collection::vec(any::<u8>(), 0..400), begin in 0usize..101) {
        let mut value = packed(None, b"body").slice(..begin).to_vec();
        value.extend(bytes);
        for sealer in [None, Some(&Sealer::new(&[3; 32]))] {
            prop_assert!(unpack(&place(sealer), NOW, LIMIT, &Bytes::from(value.clone())).is_err());
        }
    }

    #[test]
    fn headers_that_lie_are_refused_or_harmless(
        at in 0usize..HEADER,
        with: u8,
        length in any::<[u32; 3]>(),
        lengths: bool,
    ) {
        let mut value = packed(None, &b"abcdefgh".repeat(500)).to_vec();
        value[at] = with;
        if lengths {
            for (n, length) in length.iter().enumerate() {
                value[88 + 4 * n..][..4].copy_from_slice(&length.to_le_bytes());
            }
        }
        mend(&mut value);
        // No panic; what is taken is never more than the limit.
        if let Ok((_, body)) = unpack(&place(None), NOW, LIMIT, &value.into()) {
            prop_assert!(body.len() <= LIMIT);
        }
    }
}

#[test]
fn every_bit_counts() {
    let sealer = Sealer::new(&[3; 32]);
    for sealer in [None, Some(&sealer)] {
        for body in [&b"body"[..], &b"abcdefgh".repeat(500)] {
            let value = packed(sealer, body);
            assert!(unpack(&place(sealer), NOW, LIMIT, &value).is_ok());
            for bit in 0..value.len() * 8 {
                let mut value = value.to_vec();
                value[bit / 8] ^= 1 << (bit % 8);
                refused(&place(sealer), &value);
            }
            for length in 0..value.len() {
                let reason = refused(&place(sealer), &value[..length]);
                let expected = if length < 4 { Rejected::Foreign } else { Rejected::Truncated };
                assert_eq!(reason, expected, "{length}");
            }
        }
    }
}

#[test]
fn each_defect_has_its_reason() {
    let value = packed(None, b"body");
    let change = |at: usize, with: u8| {
        let mut value = value.to_vec();
        value[at] = with;
        mend(&mut value);
        value
    };
    assert_eq!(refused(&place(None), b"hello"), Rejected::Foreign);
    assert_eq!(refused(&place(None), b""), Rejected::Foreign);
    assert_eq!(refused(&place(None), &change(4, FORMAT + 1)), Rejected::OtherFormat);
    assert_eq!(refused(&place(None), &change(4, 0)), Rejected::OtherFormat);
    assert_eq!(refused(&place(None), &change(5, 8)), Rejected::OtherFormat);
    assert_eq!(refused(&place(None), &change(HEADER, b'W')), Rejected::OtherParameters);
    assert_eq!(refused(&place(None), &[&value[..], b"x"].concat()), Rejected::Corrupt);
    assert_eq!(refused(&Place { fingerprint: 98, ..place(None) }, &value), Rejected::OtherSchema);
    assert_eq!(refused(&Place { codec: Codec::Postcard, ..place(None) }, &value), Rejected::OtherSchema);
    assert_eq!(refused(&Place { key: "nexarch:beta:overview:00", ..place(None) }, &value), Rejected::Corrupt);
    assert_eq!(unpack(&place(None), 2_000, LIMIT, &value), Err(Rejected::Expired));
    assert!(unpack(&place(None), 1_999, LIMIT, &value).is_ok());
    assert_eq!(unpack(&place(None), NOW, 3, &value), Err(Rejected::TooLarge));
    assert!(unpack(&place(None), NOW, 4, &value).is_ok());
}

#[test]
fn a_sealed_value_opens_at_its_place_only() {
    let sealer = Sealer::new(&[3; 32]);
    let value = packed(Some(&sealer), b"a body that says something");
    assert!(!value.windows(4).any(|w| w == b"body" || w == b"wind"), "parameters are sealed, too");
    assert_eq!(refused(&place(None), &value), Rejected::Sealed);
    assert_eq!(refused(&place(Some(&sealer)), &packed(None, b"body")), Rejected::Unsealed);
    assert_eq!(refused(&place(Some(&Sealer::new(&[4; 32]))), &value), Rejected::Corrupt);
    let moved =
        Place { key: "nexarch:beta:overview:00112233445566778899aabbccddeeff", ..place(Some(&sealer)) };
    assert_eq!(refused(&moved, &value), Rejected::Corrupt);
    for at in [16, 24, 64, 72] {
        let mut other = value.to_vec();
        other[at] ^= 1;
        assert_eq!(
            refused(&place(Some(&sealer)), &other),
            Rejected::Corrupt,
            "epoch, label and times are covered"
        );
    }
}

/// 1 GiB of zeros in a few KiB: what the header promises is the most that is made of it.
#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let mut value = packed(None, &b"abcdefgh".repeat(500)).to_vec();
    value.truncate(HEADER);
    value.extend_from_slice(b"window=24h");
    value.extend_from_slice(&bomb);
    value.extend_from_slice(&[0; TAG]);
    let payload = u32::try_from(10 + bomb.len()).unwrap();
    value[96..100].copy_from_slice(&payload.to_le_bytes());
    mend(&mut value);
    assert_eq!(refused(&place(None), &value), Rejected::Corrupt, "more than it promised");
    value[92..96].copy_from_slice(&(64u32 << 20).to_le_bytes());
    mend(&mut value);
    assert_eq!(refused(&place(None), &value), Rejected::TooLarge);
    value[92..96].copy_from_slice(&1_000_000u32.to_le_bytes());
    mend(&mut value);
    assert_eq!(refused(&place(None), &value), Rejected::Corrupt);
}

#[test]
fn compression_is_used_where_it_helps() {
    let text = b"{\"service\":\"cart\"},".repeat(200);
    assert!(packed(None, &text).len() < text.len() / 4);
    assert_eq!(packed(None, &text[..COMPRESS_FROM - 1])[5], 0);
    let noise: Vec<u8> =
        (0..4096u64).map(|n| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()).to_le_bytes()[0]).collect();
    let value = packed(None, &noise);
    assert_eq!((value[5], value.len()), (0, HEADER + 10 + noise.len() + TAG));
}

#[test]
fn what_a_value_claims_is_read_without_unpacking_it() {
    let head =
        Head { label: Fence { epoch: Epoch::new(7), tenant: 1, operation: 2, data: 3 }, ..Head::default() };
    let place = Place { key: "n:t:o:0", params: "p", fingerprint: 0, codec: Codec::Bytes, sealer: None };
    let value = Bytes::from(pack(&place, [0; NONCE], &head, &vec![0; 1 << 20]).unwrap());
    assert!(value.len() < 1000);
    assert_eq!((claimed_length(&value), claimed_label(&value.slice(..HEADER))), (1 << 20, Some(head.label)));
    assert_eq!((claimed_length(&value.slice(..HEADER - 1)), claimed_label(&value.slice(..9))), (0, None));
}
