//! The flights by themselves: who joins, who waits, who leaves.

use crate::fence::Fence;
use crate::flight::{Arrival, Flights};
use crate::miniature::EPOCH;

/// Who hangs up makes room, in the running flight and in the waiting one, and only in the one that it had joined.
#[test]
fn who_leaves_a_flight_makes_room_in_it() {
    let check = || {
        let flights: Flights<u8, ()> = Flights::new(1);
        let need = |data| Fence { epoch: EPOCH, tenant: 0, operation: 0, data };
        let arrive = |data| flights.arrive(0, &need(data), false, || ());
        let Arrival::Lead(running) = arrive(0) else { panic!("leads") };
        let Arrival::Wait(waiting) = arrive(1) else { panic!("waits") };
        for (data, flight) in [(0, &running), (1, &waiting)] {
            let Arrival::Join(joined) = arrive(data) else { panic!("joins") };
            assert_eq!(joined.id, flight.id);
            assert!(matches!(arrive(data), Arrival::Alone));
            flights.leave(&0, waiting.id + running.id + 1);
            assert!(matches!(arrive(data), Arrival::Alone), "of another flight");
            flights.leave(&0, joined.id);
            assert!(matches!(arrive(data), Arrival::Join(_)));
        }
        assert!(flights.finish(&0, running.id).is_some());
        flights.leave(&0, running.id);
        assert!(matches!(arrive(1), Arrival::Alone), "of one that has ended");
    };
    shuttle::check_random(check, 1);
}

/// Between closing and computing nobody joins; what he needs may be more than is being taken.
#[test]
fn nobody_joins_a_flight_that_takes_its_fence() {
    let check = || {
        let flights: Flights<u8, ()> = Flights::new(8);
        let need = |data| Fence { epoch: EPOCH, tenant: 0, operation: 0, data };
        let arrive = |data| flights.arrive(0, &need(data), false, || ());
        let Arrival::Lead(first) = arrive(0) else { panic!("leads") };
        let Arrival::Wait(second) = arrive(1) else { panic!("waits") };
        assert!(matches!(arrive(1), Arrival::Join(_)));
        assert!(matches!(arrive(0), Arrival::Join(_)), "the running one");
        assert!(flights.finish(&0, first.id).is_some());
        assert!(matches!(arrive(1), Arrival::Join(_)), "it has not begun");
        flights.begin(&0, second.id);
        let Arrival::Wait(third) = arrive(1) else { panic!("waits for the next") };
        flights.compute_under(&0, second.id, need(2));
        assert!(matches!(arrive(2), Arrival::Join(_)), "the running one");
        assert!(matches!(arrive(3), Arrival::Join(_)), "the waiting one");
        assert!(flights.finish(&0, third.id).is_none(), "dropped before its turn");
        assert!(flights.finish(&0, second.id).is_none());
        assert_eq!(flights.len(), 0);
    };
    shuttle::check_random(check, 1);
}

/// Who looks for a stored value himself may never come back: he is joined by nobody, and nobody waits for his end.
#[test]
fn who_only_looks_holds_nobody_up() {
    let check = || {
        let need = |data| Fence { epoch: EPOCH, tenant: 0, operation: 0, data };
        // As much as he needs, more than he needs, or a computation of his own.
        for (data, fresh) in [(0, false), (1, false), (0, true)] {
            let flights: Flights<u8, ()> = Flights::new(8);
            let looks = flights.look(0, || ()).expect("nobody is there");
            assert!(flights.look(0, || ()).is_none(), "one looks");
            let Arrival::Lead(leads) = flights.arrive(0, &need(data), fresh, || ()) else { panic!("leads") };
            assert!(flights.look(0, || ()).is_none(), "one computes");
            assert!(!flights.compute_under(&0, looks.id, need(0)), "his place is taken");
            assert!(flights.finish(&0, looks.id).is_none());
            assert_eq!(flights.len(), 1, "and he has nothing to end");
            assert!(flights.finish(&0, leads.id).is_none());
            assert_eq!(flights.len(), 0);
        }
        let flights: Flights<u8, ()> = Flights::new(8);
        let first = flights.look(0, || ()).expect("nobody is there");
        assert!(flights.lead(0, &need(0), || ()).is_some(), "a refresh takes it, too");
        assert!(!flights.compute_under(&0, first.id, need(0)));
        let alone = flights.look(1, || ()).expect("nobody is there");
        assert!(flights.compute_under(&1, alone.id, need(0)), "nobody came");
        let Arrival::Join(joined) = flights.arrive(1, &need(0), false, || ()) else { panic!("joins") };
        assert_eq!(joined.id, alone.id);
    };
    shuttle::check_random(check, 1);
}
