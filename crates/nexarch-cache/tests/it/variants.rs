//! Other forms of a body: made once, when asked for often, and no longer there than the body is.

use crate::support::{World, world, world_with};
use bytes::Bytes;
use nexarch_cache::{Answer, Computed, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::task::TaskTracker;

/// How often a form was made, by tests that run in processes or threads of their own each.
static MADE: AtomicUsize = AtomicUsize::new(0);

fn half(body: &Bytes) -> Option<Bytes> {
    (body.len() > 1).then(|| body.slice(..body.len() / 2))
}

fn counted(body: &Bytes) -> Option<Bytes> {
    MADE.fetch_add(1, Ordering::SeqCst);
    half(body)
}

async fn read(world: &World, params: &str, bytes: usize) -> Answer {
    let compute = move |_| async move { Ok(Computed::new(vec![7; bytes])) };
    world.cache.get_or_compute(&world.acme, Read::new(world.overview, params), compute).await.unwrap()
}

impl World {
    fn form(&self, answer: &Answer, make: fn(&Bytes) -> Option<Bytes>) -> Option<Bytes> {
        self.cache.variant(&self.acme, self.overview, answer, 0, make)
    }

    fn bytes(&self) -> u64 {
        self.cache.stats(&self.acme).memory.bytes
    }
}

/// A world whose tasks can be waited for.
fn tracked(max_bytes: u64) -> (World, TaskTracker) {
    let world = world_with(true, |builder| builder.max_bytes(max_bytes));
    let tasks = world.tasks.clone();
    (world, tasks)
}

async fn done(tasks: &TaskTracker) {
    tasks.close();
    tasks.wait().await;
    tasks.reopen();
}

#[tokio::test]
async fn a_form_is_made_once_however_many_ask_and_charged_to_its_entry() {
    let (world, tasks) = tracked(1 << 20);
    let answer = read(&world, "p", 10_000).await;
    let plain = world.bytes();
    assert_eq!(world.form(&answer, counted), None, "once may be chance");
    done(&tasks).await;
    assert_eq!((MADE.load(Ordering::SeqCst), world.bytes()), (0, plain));
    for _ in 0..100 {
        world.form(&answer, counted);
    }
    done(&tasks).await;
    assert_eq!(MADE.load(Ordering::SeqCst), 1);
    let again = read(&world, "p", 10_000).await;
    assert_eq!(
        world.form(&again, counted).map(|form| form.len()),
        Some(5_000),
        "of the entry, not of one answer"
    );
    assert_eq!(again.etag(), answer.etag());
    assert_eq!((world.bytes(), world.cache.memory_bytes()), (plain + 5_000, plain + 5_000));
    assert_eq!(
        world.cache.variant(&world.acme, world.overview, &again, 1, half),
        None,
        "another form is another"
    );
    assert_eq!(world.cache.variant(&world.acme, world.overview, &again, 7, half), None);

    world.ingest();
    let newer = read(&world, "p", 9_000).await;
    assert_eq!(world.form(&newer, half), None, "of a newer body there is none yet");
    assert_eq!(world.bytes(), plain - 1_000, "and the old one took its form along");
    world.cache.set_enabled(false);
    assert_eq!((world.bytes(), world.cache.memory_bytes()), (0, 0));
}

#[tokio::test]
async fn a_form_takes_room_like_everything_else_and_is_left_out_where_there_is_none() {
    let (world, tasks) = tracked(30_000);
    let answers = [read(&world, "a", 10_000).await, read(&world, "b", 10_000).await];
    for answer in &answers {
        // Both are in use, and the newer one wins the room.
        world.form(answer, |body| Some(body.slice(..9_000)));
        world.form(answer, |body| Some(body.slice(..9_000)));
        done(&tasks).await;
        assert!(world.cache.memory_bytes() <= 30_000, "{}", world.cache.memory_bytes());
    }
    assert_eq!(world.bytes(), world.cache.memory_bytes());
    assert!(world.cache.node_stats().evictions > 0);

    let (world, tasks) = tracked(12_000);
    let alone = read(&world, "a", 10_000).await;
    let before = world.bytes();
    world.form(&alone, half);
    world.form(&alone, half);
    done(&tasks).await;
    assert_eq!(
        (world.form(&alone, half), world.bytes()),
        (None, before),
        "it stays itself, without the form"
    );
    let now = world.cache.variant_now(&world.acme, world.overview, &alone, 0, half).await;
    assert_eq!(now.map(|form| form.len()), Some(5_000), "who can do with nothing else gets it all the same");
}

#[tokio::test]
async fn what_is_no_gain_is_not_tried_again() {
    let world = world(true);
    let answer = read(&world, "p", 100).await;
    for _ in 0..10 {
        assert_eq!(world.form(&answer, |_| None), None);
    }
    done(&world.tasks).await;
    assert_eq!(world.form(&answer, |_| panic!("tried again")), None);
    done(&world.tasks).await;
}
