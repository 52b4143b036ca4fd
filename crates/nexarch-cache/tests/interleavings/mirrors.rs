//! The mirror by itself: hearsay and trust.

use crate::clock::BootTime;
use crate::fence::Fence;
use crate::miniature::{EPOCH, Miniature, Mistake};
use crate::mirror::{Mirror, Part, Trust};
use crate::{TURNS, Work, schedules};
use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};
use shuttle::thread;
use std::sync::Arc;

/// However messages, commits and reads of versions meet: nothing known is lowered, what overtakes a read outlives it,
/// and one more read ends all hearsay.
#[test]
fn hearsay_lowers_nothing_and_ends() {
    let check = || {
        let world = Miniature::new(Mistake::None);
        let spawn = |work: Work| {
            let world = Arc::clone(&world);
            thread::spawn(move || work(&world))
        };
        let works: [Work; 4] = [
            Miniature::gossip,
            |world| (0..3).for_each(|_| world.commit()),
            Miniature::truth_read,
            |world| {
                let before = world.acknowledged.load(SeqCst);
                assert!(world.need().data >= before);
                assert!(world.mirror().certain(0, true).fence.data >= before);
            },
        ];
        for thread in works.map(spawn) {
            thread.join().unwrap();
        }
        let sent = world.mirror().sending();
        world.mirror().hear(Part::Data, 7);
        world.mirror().answered(&sent);
        assert_eq!(world.need().data, 7, "it came after the read was sent");
        world.truth_read();
        assert_eq!(world.need(), Fence { epoch: EPOCH, tenant: 0, operation: 0, data: 3 });
    };
    shuttle::check_random(check, schedules());
    shuttle::check_pct(check, schedules(), TURNS);
}

/// A read of versions that is trusted has raised all it vouches for.
#[test]
fn trust_is_never_ahead_of_the_versions_it_vouches_for() {
    let check = || {
        let mirror = Arc::new(Mirror::new(EPOCH, 1));
        let done = Arc::new(AtomicBool::new(false));
        let raiser = thread::spawn({
            let (mirror, done) = (Arc::clone(&mirror), Arc::clone(&done));
            move || {
                for version in 1..=3u64 {
                    mirror.raise_tenant(version);
                    mirror.raise_operation(0, version);
                    mirror.raise_data(version);
                    mirror.complete(version, BootTime::from_nanos(version * 10));
                }
                done.store(true, SeqCst);
            }
        });
        while !done.load(SeqCst) {
            for minimum in 0..=3 {
                if mirror.trusted(Trust::Lease(BootTime::from_nanos(40)), BootTime::from_nanos(0), minimum) {
                    let needed = mirror.need(0, true);
                    let fence = needed.fence;
                    assert!(needed.known >= minimum);
                    for part in [fence.tenant, fence.operation, fence.data] {
                        assert!(part >= needed.known, "{needed:?}");
                    }
                }
            }
            thread::yield_now();
        }
        raiser.join().unwrap();
    };
    shuttle::check_random(check, schedules());
}
