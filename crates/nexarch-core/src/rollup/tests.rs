use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    Text,
    facts::Facts,
    infer::{contribution, testing::*},
    span::Kind,
};

/// A delta with every kind of key, from spans that were made up.
fn shop() -> Delta {
    let mut delta = contribution(&[
        server("shop", 1, 0),
        client("shop", 2, 1).with(|it| {
            it.address = "pay.svc".into();
            it.protocol = "http".into();
        }),
        Facts { error: true, weight: 1000, duration_ns: Some(77_000_000), ..server("pay", 3, 2) },
        query("pay", 4, 3, "orders-db"),
        server("late", 5, 99),
        bare("old", 6, 0),
        message("shop", Kind::Producer, 7, 1, "q"),
        linked(message("mail", Kind::Consumer, 8, 7, "q"), &[7], 3),
        chat("mail", 9, 8, (77, 5)),
        agent("planner", local("mail", 10, 8)),
        tool("search", local("mail", 11, 10)),
    ]);
    delta.add(&contribution(&[Facts { start_ns: START_NS + 90_000_000_000, ..server("shop", 1, 0) }]));
    delta.add(&contribution(&[Facts { error: true, ..server("shop", 1, 0) }]));
    delta
}

fn one_blob() -> Vec<u8> {
    shop().encode().swap_remove(0).1
}

fn fold(blob: &[u8]) -> Result<Rollup, Corrupt> {
    Rollup::fold([(0, blob)])
}

#[test]
fn a_blob_read_and_written_again_is_the_same() {
    for (_, blob) in shop().encode() {
        assert_eq!(merge(&[&blob]).unwrap(), blob);
        assert_eq!(merge(&[&[], &blob, &[]]).unwrap(), blob, "an empty blob has no cells");
    }
}

#[test]
fn blobs_that_cancel_out_merge_to_nothing() {
    let plus = one_blob();
    let mut negative = Delta::default();
    negative.subtract(&shop());
    let minus = negative.encode().swap_remove(0).1;
    assert_eq!(merge(&[&plus, &minus]).unwrap(), Vec::<u8>::new());
    assert_eq!(merge(&[]).unwrap(), Vec::<u8>::new());
}

#[test]
fn a_delta_is_equal_however_it_came_about_and_empty_when_taken_back() {
    let (a, b) = (contribution(&[server("a", 1, 0)]), contribution(&[server("b", 2, 0)]));
    let (mut ab, mut ba) = (a.clone(), b.clone());
    ab.add(&b);
    ba.add(&a);
    assert_eq!(ab, ba);
    ab.subtract(&a);
    assert_eq!(ab, b);
    assert!(!ab.is_empty());
    ab.subtract(&b);
    assert!(ab.is_empty() && ab.encode().is_empty());
}

#[test]
fn bytes_are_stable() {
    // A change here is a change of the stored format: raise the version, and read the old one.
    let delta = contribution(&[server("a", 1, 0)]);
    let [(minute, blob)] = &delta.encode()[..] else { panic!("one minute") };
    assert_eq!(*minute, 1_000_000);
    let shown = blob[9..].iter().fold(String::new(), |shown, byte| format!("{shown}{byte:02x}"));
    // Texts "a", "op1"; service a, user; spans, request, operation, entry, call in.
    assert_eq!(
        shown,
        "0201610\
         36f7031\
         02000000010000070000000000\
         0500000202\
         01000602e807\
         0200020602e807\
         03000602e807\
         240100000602e807"
            .replace(char::is_whitespace, "")
    );
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let long = "é".repeat(200);
    let delta = contribution(&[server("a", 1, 0).with(|it| it.name = long.as_str().into())]);
    let (_, blob) = delta.encode().swap_remove(0);
    let rollup = fold(&blob).unwrap();
    let names = rollup.cells().filter_map(|(key, _)| match key {
        Key::Operation(_, name) => Some(rollup.table.text_of(name).len()),
        _ => None,
    });
    let longest = names.max().unwrap();
    assert_eq!(longest, 256);
}

#[test]
fn damage_is_noticed() {
    let blob = one_blob();
    for at in 0..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 0x10;
        assert!(fold(&damaged).is_err(), "byte {at}");
        assert!(at == 0 || fold(&blob[..at]).is_err(), "cut at {at}");
    }
    let mut longer = blob.clone();
    longer.push(0);
    assert!(fold(&longer).is_err());
}

/// With a right checksum, so that the decoder itself has to cope.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut blob = vec![1];
    blob.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(body).to_le_bytes());
    blob.extend_from_slice(body);
    blob
}

#[test]
fn counts_beyond_the_input_reserve_nothing() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(fold(&sealed(&huge)).unwrap_err(), Corrupt("cut off"));
    assert_eq!(fold(&sealed(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f])).unwrap_err(), Corrupt("cut off"));
    assert_eq!(fold(&sealed(&[1, 3, b'a'])).unwrap_err(), Corrupt("cut off"));
}

#[test]
fn impossible_cells_are_refused() {
    // One text "a", one service of that name, one cell: spans of it, with the flags and fields given.
    let cell = |fields: &[u8]| {
        let mut body = vec![1, 1, b'a', 1, 0, 0, 0, 1, 0, 0, 1, 0, 0];
        body.extend_from_slice(fields);
        fold(&sealed(&body)).map(|rollup| rollup.len())
    };
    let (unit, single, timed, all, unit_time) = (2, 4, 8, 16, 32);
    assert_eq!(cell(&[unit, 2]), Ok(1));
    assert_eq!(cell(&[unit | timed | all, 2, 8, 1, 0x8f, 4, 8]), Ok(1), "bucket 527");
    assert_eq!(cell(&[unit | timed | all, 2, 8, 1, 0x90, 4, 8]), Err(Corrupt("bucket")), "bucket 528");
    assert_eq!(cell(&[unit | timed | all, 2, 8, 2, 1, 8, 0, 8]), Err(Corrupt("histogram is not sorted")));
    assert_eq!(cell(&[unit | single | unit_time, 2, 8]), Err(Corrupt("flags")));
    assert_eq!(cell(&[64, 2]), Err(Corrupt("flags")));
    let longer = [0x80, 0x80, 0x80, 0x80, 0x80, 0x02];
    assert_eq!(cell(&[&[unit | single, 2][..], &longer].concat()), Err(Corrupt("duration")), "over 2^36 µs");
    assert_eq!(fold(&sealed(&[0, 1, 13, 0, 0, 0, 0, 0, 0])).unwrap_err(), Corrupt("class"));
    assert_eq!(fold(&sealed(&[0, 1, 0, 0, 0, 1, 0, 0, 0])).unwrap_err(), Corrupt("reference"));
}

#[test]
fn last_seen_is_the_newest_minute_with_spans_left() {
    let at =
        |minutes: u64, id: u64| Facts { start_ns: START_NS + minutes * 60_000_000_000, ..server("a", id, 0) };
    let mut blobs = contribution(&[at(0, 1), at(2, 2)]).encode();
    let mut back = Delta::default();
    back.subtract(&contribution(&[at(2, 2)]));
    blobs.extend(back.encode());
    let rollup = Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &**blob))).unwrap();
    assert_eq!(rollup.last_seen.values().copied().collect::<Vec<_>>(), [1_000_000]);
}

#[test]
fn a_fold_by_buckets_keeps_what_is_wanted() {
    let blobs = shop().encode();
    let input = blobs.iter().map(|(minute, blob)| (*minute, &**blob));
    let by_minute = Rollup::fold_by(input, |minute| minute, |_, key| matches!(key, Key::Entry(_))).unwrap();
    let mut minutes: Vec<u32> = by_minute.table.cells.keys().map(|key| key.0).collect();
    minutes.sort_unstable();
    assert_eq!(minutes, [1_000_000, 1_000_000, 1_000_000, 1_000_001]);
}

/// A cell of any numbers, as if by many overlapping retractions.
fn any_cell() -> impl Strategy<Value = Cell> {
    let small = prop_oneof![Just(0i64), -3i64..300, any::<i64>()];
    let number = prop_oneof![small.clone(), small.clone().prop_map(|n| n.wrapping_mul(256))];
    let time = prop_oneof![Just(0i128), number.clone().prop_map(i128::from), any::<i128>()];
    let bins = vec((0u16..crate::histogram::BUCKETS, number.clone()), 0..4);
    ((number.clone(), number.clone(), number.clone()), (number, small, time), bins).prop_map(
        |((count, weight, errors), (error_weight, timed, time), bins)| {
            let mut cell = Cell { count, weight, errors, error_weight, timed, time, ..Cell::default() };
            for (bucket, weight) in bins {
                cell.histogram.add_bin(bucket, weight);
            }
            cell
        },
    )
}

fn table_of(cells: &[(u32, Cell)]) -> Delta {
    let mut delta = Delta::default();
    for (name, cell) in cells {
        let name = delta.table.text(&Text::from(format!("service {name}")));
        let node = delta.table.node(NodeKey { class: Class::Service, parts: [0, 0, name, 0, 0] });
        delta.table.merge_cell(0, Key::Request(node), cell, 1);
    }
    delta
}

proptest! {
    #[test]
    fn any_cells_survive_a_blob(cells in vec((0u32..9, any_cell()), 0..20)) {
        let delta = table_of(&cells);
        let blob = delta.encode().pop().map(|blob| blob.1).unwrap_or_default();
        let back = fold(&blob).unwrap();
        prop_assert_eq!(Delta { table: back.table }, delta);
    }

    /// What is passed over changes nothing in what is read after it.
    #[test]
    fn any_cells_are_passed_over_whole(cells in vec((0u32..9, any_cell()), 0..20), odd in 0u32..2) {
        let blob = table_of(&cells).encode().pop().map(|blob| blob.1).unwrap_or_default();
        let wanted = |table: &Table, key: Key| match key {
            Key::Request(node) => table.describe(node).1[2].bytes().last().is_some_and(|last| u32::from(last) % 2 == odd),
            _ => false,
        };
        let mut kept = fold(&blob).unwrap();
        let cells = std::mem::take(&mut kept.table.cells);
        kept.table.cells = cells.into_iter().filter(|((_, key), _)| wanted(&kept.table, *key)).collect();
        let some = Rollup::fold_by([(0, &*blob)], |minute| minute, wanted).unwrap();
        prop_assert_eq!(Delta { table: some.table }, Delta { table: kept.table });
    }

    #[test]
    fn any_cells_cancel_exactly(cells in vec((0u32..4, any_cell()), 0..20), more in vec((0u32..4, any_cell()), 0..20)) {
        let (a, b) = (table_of(&cells), table_of(&more));
        let mut sum = a.clone();
        sum.add(&b);
        sum.subtract(&a);
        prop_assert_eq!(&sum, &b);
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..300)) {
        let _ = fold(&body);
        if let Ok(rollup) = fold(&sealed(&body)) {
            // What was read can be written, and read again as the same.
            let blob = merge(&[&sealed(&body)]).unwrap();
            prop_assert_eq!(Delta { table: fold(&blob).unwrap().table }, Delta { table: rollup.table });
        }
    }

    #[test]
    fn damaged_bodies_are_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = one_blob()[9..].to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = fold(&sealed(&body));
    }
}
