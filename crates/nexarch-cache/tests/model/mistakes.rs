//! The known mistakes, each with a scenario in which it has to be found.

use crate::scenario::{self, Scenario, tell};

/// A deliberate mistake; each broke a draft of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    None,
    /// A late reply overwrites what is known.
    OverwriteMirror,
    /// The lease is counted from when the answer came.
    LeaseFromReceipt,
    /// Redis answers, so nothing was missed: but the writer is cut off from Redis.
    TrustByHeartbeat,
    /// A lagging replica is promoted, and that the clock runs backwards goes unseen.
    PromotedReplica,
    /// A clock is compared with what was read whole, and not with what a computation saw beyond that.
    SeenIsNotCommitted,
    /// Only clocks are compared; changes that go on hide that others are lost.
    ClockAlone,
    /// What a transaction read is taken for whole though it lacks what is known.
    AnnouncedIsWhole,
    /// The label is read after computing.
    LabelAfterwards,
    /// Fences are not compared when a flight is joined.
    JoinBlindly,
    /// The waiting flight runs under the fence of the reader who made it.
    FenceOnArrival,
    /// The waiting flight takes its fence and is closed after that.
    FenceBeforeClosing,
    /// A message overtakes a read of the versions; the older answer is taken for a restore.
    OvertakenIsRestore,
    /// What was heard is known for ever.
    HearsayIsKnown,
    /// What was heard goes into fences of computations, and so into labels.
    FlyByHearsay,
    /// A message counts as a look at the versions.
    MessageExtendsLease,
    /// Acknowledged, then announced to the own mirror.
    AcknowledgeFirst,
    /// After a failure, whatever is there is served.
    StandInBlindly,
    /// A batch that was there already is acknowledged and not announced.
    SilentRetry,
    /// A minimum version is taken for a known one.
    MinimumIsKnown,
    /// What Redis has is served though it is newer than the database.
    NewerIsTaken,
    /// The label of an early refresh is read after computing.
    EarlyLabelAfterwards,
    /// What an early refresh brought is served without a look at its label.
    EarlyIsCurrent,
    /// Whoever comes while an early refresh runs joins it.
    EarlyIsJoinedBlindly,
    /// Who looks in Redis himself leads the flight meanwhile: others wait for one who may not be polled.
    LeaderIsCaller,
    /// Who looked himself goes on to compute, although somebody took his place.
    PlaceIsKept,
    /// A sole owner believes what it knows although it does not get to look whether a guest wrote.
    SoleForEver,
    /// A look that found nothing counts from its answer.
    VouchFromAnswer,
    /// That a look failed is forgotten with it.
    FloorForgotten,
    /// Any answer ends distrust, also one to a question that was sent before.
    AnyAnswerEndsDistrust,
    /// Who may have what nobody vouches for gets whatever is there.
    UnverifiedBlindly,
}

const FOUND: &[(Mistake, Scenario, &str)] = &[
    (Mistake::OverwriteMirror, scenario::FLIGHTS_OF_DATA, "stale"),
    (Mistake::LeaseFromReceipt, scenario::LEASE, "stale"),
    (Mistake::TrustByHeartbeat, scenario::SILENCE, "stale"),
    (Mistake::PromotedReplica, scenario::SET_BACK_ONCE, "a read failed"),
    (Mistake::SeenIsNotCommitted, scenario::SET_BACK_ONCE, "lost future"),
    (Mistake::ClockAlone, scenario::SET_BACK_UNSEEN, "a read failed"),
    (Mistake::AnnouncedIsWhole, scenario::SET_BACK_UNSEEN, "a read failed"),
    (Mistake::LabelAfterwards, scenario::FLIGHTS, "stale"),
    (Mistake::JoinBlindly, scenario::FLIGHTS, "stale"),
    (Mistake::FenceOnArrival, scenario::FLIGHTS_OF_DATA, "stale"),
    (Mistake::FenceBeforeClosing, scenario::FLIGHTS_OF_DATA, "stale"),
    (Mistake::OvertakenIsRestore, scenario::LATE_MESSAGE, "restore was seen"),
    (Mistake::HearsayIsKnown, scenario::FALSE_INVALIDATIONS, "stale"),
    (Mistake::FlyByHearsay, scenario::FALSE_INVALIDATIONS, "stale"),
    (Mistake::MessageExtendsLease, scenario::LATE_MESSAGE, "stale"),
    (Mistake::AcknowledgeFirst, scenario::FLIGHTS, "stale"),
    (Mistake::StandInBlindly, scenario::FAIL_SAFE, "stale"),
    (Mistake::SilentRetry, scenario::CRASH, "stale"),
    (Mistake::MinimumIsKnown, scenario::MINIMUM, "stale"),
    (Mistake::NewerIsTaken, scenario::SET_BACK_BEHIND, "lost future"),
    (Mistake::EarlyLabelAfterwards, scenario::EARLY, "stale"),
    (Mistake::EarlyIsCurrent, scenario::EARLY, "stale"),
    (Mistake::EarlyIsJoinedBlindly, scenario::EARLY, "stale"),
    (Mistake::LeaderIsCaller, scenario::CALLERS, "a reader waits for ever"),
    (Mistake::PlaceIsKept, scenario::CALLERS, "two computations"),
    (Mistake::SoleForEver, scenario::GUEST, "stale"),
    (Mistake::VouchFromAnswer, scenario::GUEST, "stale"),
    (Mistake::FloorForgotten, scenario::GUEST, "stale"),
    (Mistake::AnyAnswerEndsDistrust, scenario::GUEST_LATE_ANSWER, "stale"),
    (Mistake::UnverifiedBlindly, scenario::UNVERIFIED, "stale"),
];

/// More states than any of them needs.
const STATES: usize = 100_000;

#[test]
fn every_known_mistake_is_found() {
    println!("{:<20} {:>8} {:>6}  breaks", "mistake", "states", "steps");
    let mut missed = Vec::new();
    for (mistake, scenario, breaks) in FOUND {
        let explored = scenario.with(*mistake).explore(STATES);
        match explored.broken {
            Some((broken, way)) if broken.contains(breaks) => {
                println!("{:<20} {:>8} {:>6}  {broken}", format!("{mistake:?}"), explored.states, way.len());
            }
            Some((broken, way)) => {
                missed.push(format!("{mistake:?} breaks otherwise: {}", tell(&broken, &way)));
            }
            None => missed.push(format!("{mistake:?} not found in {} states", explored.states)),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
