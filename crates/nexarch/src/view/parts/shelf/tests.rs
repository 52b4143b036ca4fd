use std::{cell::Cell, future::pending};

use super::*;

struct Stone(usize);

impl Weigh for Stone {
    fn bytes(&self) -> usize {
        self.0
    }
}

fn shelf() -> Shelf<u8, Stone> {
    Shelf::new(&Arc::default())
}

#[tokio::test]
async fn who_comes_meanwhile_waits_and_gets_the_same() {
    let (shelf, begun) = (shelf(), Cell::new(0));
    let slow = async {
        begun.set(begun.get() + 1);
        tokio::task::yield_now().await;
        Ok(Stone(1))
    };
    let (first, second) = tokio::join!(shelf.read::<()>(1, slow), shelf.read::<()>(1, pending()));
    assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
    assert_eq!(begun.get(), 1);
}

#[tokio::test]
async fn who_waits_for_one_that_fails_or_goes_away_reads_himself() {
    let shelf = shelf();
    let fails = async {
        tokio::task::yield_now().await;
        Err("broken")
    };
    let (first, second) = tokio::join!(shelf.read(1, fails), shelf.read::<&str>(1, async { Ok(Stone(2)) }));
    assert_eq!((first.err(), second.unwrap().0), (Some("broken"), 2));

    let mut gone = Box::pin(shelf.read::<()>(2, pending()));
    assert!(futures_util::poll!(&mut gone).is_pending());
    let mut waits = Box::pin(shelf.read::<()>(2, async { Ok(Stone(3)) }));
    assert!(futures_util::poll!(&mut waits).is_pending(), "one at a time");
    drop(gone);
    assert_eq!(waits.await.unwrap().0, 3);
}

#[test]
fn one_that_panics_leaves_the_place_to_the_next() {
    let shelf = shelf();
    let make = || shelf.make::<()>(1, || panic!("made badly"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(make)).is_err());
    assert_eq!(shelf.make::<()>(1, || Ok(Stone(4))).unwrap().0, 4);
    assert_eq!(shelf.make::<()>(1, || panic!("it is there")).unwrap().0, 4);
}

#[test]
fn what_has_no_room_is_made_by_everybody_and_the_room_is_given_back() {
    let room = Arc::new(Room::default());
    let shelf = Shelf::new(&room);
    let make = |key: u8, bytes| shelf.make::<()>(key, || Ok(Stone(bytes))).unwrap();
    let half = super::super::MAX_BYTES / 2 + 1;
    assert!(Arc::ptr_eq(&make(1, half), &make(1, half)));
    assert!(!Arc::ptr_eq(&make(2, half), &make(2, half)), "there is room for one of them");
    assert_eq!(room.taken.load(Ordering::Relaxed), half);
    for key in 0..=u8::MAX {
        make(key, 1);
    }
    assert!(shelf.keys().len() <= MAX_PARTS);
    drop(shelf);
    assert_eq!(room.taken.load(Ordering::Relaxed), 0);
}
