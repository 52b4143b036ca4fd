//! What is known, what is heard, and how hearsay ends.

use crate::clock::BootTime;
use crate::fence::{Epoch, Fence};
use crate::mirror::{LEASE, Mirror, Part, Trust};
use proptest::prelude::*;
use std::time::Duration;

const SENT: BootTime = BootTime::from_nanos(10);
const FLOOR: BootTime = BootTime::from_nanos(0);

/// A mirror of two operations that knows version 5 of everything.
fn mirror() -> Mirror {
    let mirror = Mirror::new(Epoch::new(7), 2);
    raise(&mirror, 5);
    mirror.complete(5, SENT);
    mirror
}

fn raise(mirror: &Mirror, version: u64) {
    mirror.raise_tenant(version);
    mirror.raise_data(version);
    (0..2).for_each(|operation| mirror.raise_operation(operation, version));
}

fn parts(fence: Fence) -> [u64; 3] {
    [fence.tenant, fence.operation, fence.data]
}

fn needed(mirror: &Mirror) -> [u64; 3] {
    parts(mirror.need(0, true).fence)
}

fn certain(mirror: &Mirror) -> [u64; 3] {
    parts(mirror.certain(0, true).fence)
}

#[test]
fn a_message_raises_what_hits_need_and_vouches_for_nothing() {
    let mirror = mirror();
    assert!(!mirror.in_doubt());
    mirror.hear(Part::Tenant, 6);
    mirror.hear(Part::Operation(0), 7);
    mirror.hear(Part::Operation(99), 9);
    mirror.hear(Part::Data, 8);
    assert_eq!(needed(&mirror), [6, 7, 8]);
    assert_eq!(certain(&mirror), [5, 5, 5]);
    assert_eq!(parts(mirror.need(1, false).fence), [6, 5, 0]);
    assert!(mirror.in_doubt());
    assert_eq!(mirror.known(), 5);
    let late = Trust::Lease(SENT.plus(LEASE + Duration::from_nanos(1)));
    assert!(!mirror.trusted(late, FLOOR, 0), "no message extends a lease");
    assert!(mirror.trusted(Trust::Lease(SENT.plus(LEASE)), FLOOR, 5));
    assert!(!mirror.trusted(Trust::Lease(SENT), FLOOR, 6), "no message reaches a minimum version");
}

#[test]
fn a_look_that_found_nothing_extends_the_lease_of_what_was_not_distrusted_since() {
    let mirror = mirror();
    let late = SENT.plus(LEASE + Duration::from_nanos(1));
    let watched = |looked| Trust::Watched { now: late, looked };
    assert!(!mirror.trusted(watched(BootTime::default()), FLOOR, 0));
    assert!(!mirror.trusted(watched(SENT), FLOOR, 0));
    assert!(mirror.trusted(watched(SENT.plus(Duration::from_nanos(1))), FLOOR, 0));
    assert!(!mirror.trusted(watched(late), SENT, 0), "read before trust was withdrawn");
}

#[test]
fn an_older_message_lowers_nothing() {
    let mirror = mirror();
    mirror.hear(Part::Data, 4);
    mirror.hear(Part::Tenant, 5);
    assert_eq!(needed(&mirror), [5, 5, 5]);
    assert!(!mirror.in_doubt());
}

#[test]
fn a_read_that_was_sent_after_it_ends_a_false_message() {
    let mirror = mirror();
    mirror.hear(Part::Tenant, u64::MAX);
    mirror.hear(Part::Operation(0), u64::MAX);
    mirror.hear(Part::Data, u64::MAX);
    let sent = mirror.sending();
    assert_eq!(needed(&mirror), [u64::MAX; 3]);
    raise(&mirror, 6);
    mirror.answered(&sent);
    assert_eq!(needed(&mirror), [6; 3]);
    assert!(!mirror.in_doubt());
}

#[test]
fn a_message_that_overtakes_a_read_outlives_its_answer() {
    let mirror = mirror();
    let sent = mirror.sending();
    mirror.hear(Part::Data, 6);
    raise(&mirror, 5);
    mirror.answered(&sent);
    assert_eq!(needed(&mirror), [5, 5, 6]);
    let next = mirror.sending();
    mirror.answered(&next);
    assert_eq!(needed(&mirror), [5, 5, 5], "the second was sent after it");
}

/// Else a stream of true messages, one in each read, would keep it alive for ever.
#[test]
fn a_false_message_is_not_carried_on_by_true_ones() {
    let mirror = mirror();
    mirror.hear(Part::Data, 1_000_000);
    for version in 6..10 {
        let sent = mirror.sending();
        mirror.hear(Part::Data, version);
        mirror.raise_data(version - 1);
        mirror.answered(&sent);
        assert_eq!(needed(&mirror)[2], version);
    }
}

#[test]
fn a_read_without_an_answer_ends_nothing_and_the_next_ends_both() {
    let mirror = mirror();
    mirror.hear(Part::Data, 8);
    let lost = mirror.sending();
    mirror.hear(Part::Data, 7);
    let next = mirror.sending();
    mirror.hear(Part::Data, 6);
    mirror.answered(&lost);
    assert_eq!(needed(&mirror)[2], 8, "it was given up; what it would end is the next one's");
    mirror.answered(&next);
    assert_eq!(needed(&mirror)[2], 6);
}

#[test]
fn what_was_heard_and_then_known_is_no_doubt() {
    let mirror = mirror();
    mirror.hear(Part::Data, 8);
    mirror.raise_data(8);
    assert!(!mirror.in_doubt());
    assert_eq!(certain(&mirror), [5, 5, 8]);
}

#[test]
fn an_answer_that_lacks_what_was_committed_before_it_was_asked_for_shows() {
    let mirror = mirror();
    mirror.raise_data(8);
    let sent = mirror.sending();
    mirror.raise_data(9);
    mirror.hear(Part::Tenant, 12);
    let lacks = |clock, parts: [u64; 4]| sent.lacks(clock, &parts);
    assert!(!lacks(8, [5, 8, 5, 5]), "what came or was heard after it was sent is not missed");
    assert!(lacks(7, [5, 8, 5, 5]), "a computation saw 8, whatever was read whole");
    assert!(lacks(10, [10, 7, 5, 5]), "a later change does not hide it");
    assert!(lacks(10, [10, 8, 5, 4]));
}

#[test]
fn versions_behind_what_is_known_vouch_for_nothing() {
    let mirror = mirror();
    assert!(!mirror.behind(&[5, 5, 5, 5]) && !mirror.behind(&[6, 5, 5, 5]));
    assert!(mirror.behind(&[6, 4, 5, 5]));
    mirror.raise(&[7, 4, 5, 9]);
    assert_eq!(parts(mirror.certain(1, true).fence), [7, 9, 5]);
    assert_eq!(needed(&mirror), [7, 5, 5]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Know(u64),
    Hear(u64),
    Send,
    Answer,
}

proptest! {
    /// Against a plain list of messages, each with the number of reads that were sent when it came.
    #[test]
    fn it_needs_what_is_known_and_each_message_that_no_later_read_answered(
        steps in prop::collection::vec(
            prop_oneof![
                (0u64..20).prop_map(Step::Know),
                (0u64..20).prop_map(Step::Hear),
                Just(Step::Send),
                Just(Step::Answer),
            ],
            0..40,
        ),
    ) {
        let mirror = Mirror::new(Epoch::new(7), 1);
        let (mut known, mut heard, mut sends) = (0, Vec::new(), 0);
        let mut running = None;
        for step in steps {
            match step {
                Step::Know(version) => {
                    mirror.raise_operation(0, version);
                    known = known.max(version);
                }
                Step::Hear(version) => {
                    mirror.hear(Part::Operation(0), version);
                    heard.push((sends, version));
                }
                Step::Send => {
                    running = Some(mirror.sending());
                    sends += 1;
                }
                Step::Answer => {
                    if let Some(sent) = running.take() {
                        mirror.answered(&sent);
                        heard.retain(|(came, _)| *came >= sends);
                    }
                }
            }
            let most = heard.iter().map(|(_, version)| *version).max().unwrap_or(0).max(known);
            prop_assert_eq!(mirror.need(0, false).fence.operation, most);
            prop_assert_eq!(mirror.certain(0, false).fence.operation, known);
            prop_assert_eq!(mirror.in_doubt(), most > known);
        }
    }
}
