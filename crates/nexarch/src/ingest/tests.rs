use std::{io::Write, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{
    body::{self, BodyError, Encoding},
    inflight::Budget,
};

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn acme() -> nexarch_core::ids::TenantId {
    "acme".parse().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 1).unwrap()
}

async fn read(packed: Vec<u8>, encoding: Encoding, limit: usize) -> Result<Bytes, BodyError> {
    // In small pieces, as a network gives it.
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        packed.chunks(7_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let budget = Budget::new(usize::MAX, 1);
    let mut held = budget.hold(Some(&acme()));
    let whole = body::read(body, encoding, limit, &mut held).await;
    if let Ok(whole) = &whole {
        assert_eq!(budget.used(), whole.len(), "what is kept is accounted for");
    }
    whole
}

#[tokio::test]
async fn every_encoding_unpacks_to_the_same() {
    let plain: Vec<u8> = (0..50_000u32).flat_map(|n| n.to_string().into_bytes()).collect();
    for (packed, encoding) in
        [(plain.clone(), Encoding::Identity), (gzip(&plain), Encoding::Gzip), (zstd(&plain), Encoding::Zstd)]
    {
        assert_eq!(read(packed, encoding, plain.len()).await.unwrap(), plain, "{encoding:?}");
    }
}

#[tokio::test]
async fn a_bomb_stops_at_the_limit() {
    let plain = vec![0u8; 8 << 20];
    for (packed, encoding) in
        [(plain.clone(), Encoding::Identity), (gzip(&plain), Encoding::Gzip), (zstd(&plain), Encoding::Zstd)]
    {
        assert_eq!(read(packed, encoding, 1 << 20).await, Err(BodyError::TooLarge(1 << 20)), "{encoding:?}");
    }
}

#[tokio::test]
async fn what_does_not_unpack_is_corrupt() {
    let plain = vec![7u8; 100_000];
    for (packed, encoding, name) in
        [(gzip(&plain), Encoding::Gzip, "gzip"), (zstd(&plain), Encoding::Zstd, "zstd")]
    {
        let cut = packed[..packed.len() - 3].to_vec();
        assert_eq!(read(cut, encoding, 1 << 20).await, Err(BodyError::Corrupt(name)), "cut");
        assert_eq!(
            read(b"hello".to_vec(), encoding, 1 << 20).await,
            Err(BodyError::Corrupt(name)),
            "garbage"
        );
    }
}

/// What asks for more room than RFC 8878 says every decoder should have gets none.
#[tokio::test]
async fn a_window_of_zstd_is_bounded() {
    let window = |log: u32| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        // Flushed on the way, so that its size is not known when the frame begins.
        encoder.write_all(&vec![7; 9 << 20]).unwrap();
        encoder.flush().unwrap();
        encoder.write_all(&[7]).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(read(window(23), Encoding::Zstd, 16 << 20).await.unwrap().len(), (9 << 20) + 1);
    assert_eq!(read(window(24), Encoding::Zstd, 16 << 20).await, Err(BodyError::Corrupt("zstd")));
}

/// Of several that shared a failure each may be innocent: they are told to come back.
#[test]
fn a_failure_that_was_shared_is_nobodys_fault() {
    let failure = nexarch_store::Error::Internal("a bug".to_owned());
    assert!(matches!(super::again(&failure, true), nexarch_store::Error::Internal(_)));
    assert!(matches!(super::again(&failure, false), nexarch_store::Error::Unavailable { .. }));
}

#[tokio::test]
async fn a_spent_budget_is_busy() {
    let budget = Budget::new(1_000, 1);
    let mut held = budget.hold(Some(&acme()));
    let outcome = body::read(Body::from(vec![1u8; 2_000]), Encoding::Identity, 1 << 20, &mut held).await;
    assert_eq!(outcome, Err(BodyError::Busy));
    drop(held);
    assert_eq!(budget.used(), 0);
}

/// How often another task of the same thread had its turn while a body was read.
async fn turns(packed: Vec<u8>, encoding: Encoding) -> usize {
    let budget = Budget::new(usize::MAX, 1);
    let mut held = budget.hold(Some(&acme()));
    let mut reading = std::pin::pin!(body::read(Body::from(packed), encoding, 64 << 20, &mut held));
    let mut turns = 0;
    std::future::poll_fn(|cx| {
        turns += 1;
        reading.as_mut().poll(cx).map(|outcome| assert_eq!(outcome.unwrap().len(), 32 << 20))
    })
    .await;
    turns
}

#[tokio::test]
async fn nobody_waits_for_a_bomb_to_inflate() {
    let plain = vec![0u8; 32 << 20];
    for (packed, encoding) in [(gzip(&plain), Encoding::Gzip), (zstd(&plain), Encoding::Zstd)] {
        let turns = turns(packed, encoding).await;
        assert!(turns > 16, "{turns} turns for 32 MiB of {encoding:?}");
    }
}

#[tokio::test]
async fn a_bomb_stops_at_the_budget_long_before_the_limit() {
    let plain = vec![0u8; 32 << 20];
    for (packed, encoding) in [(gzip(&plain), Encoding::Gzip), (zstd(&plain), Encoding::Zstd)] {
        let budget = Budget::new(4 << 20, 1);
        let mut held = budget.hold(Some(&acme()));
        let outcome = body::read(Body::from(packed), encoding, 64 << 20, &mut held).await;
        assert_eq!(outcome, Err(BodyError::Busy));
        assert!(held.bytes() > 2 << 20, "it was charged as it grew: {}", held.bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_told_to_come_again() {
    let budget = Budget::new(1_000, 1);
    let mut held = budget.hold(Some(&acme()));
    let silent = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let outcome = body::read(silent, Encoding::Identity, 1_000, &mut held).await;
    assert_eq!(outcome, Err(BodyError::Slow));
    let error = crate::http::ApiError::from(BodyError::Slow);
    assert_eq!(
        error.status,
        axum::http::StatusCode::SERVICE_UNAVAILABLE,
        "senders of OTLP do not repeat 408"
    );
    assert!(error.retry_after.is_some());
}

/// What is packed with zstd is in memory beside what it unpacks to, and so are both in the account.
#[tokio::test]
async fn packed_and_plain_are_charged_as_long_as_there_are_both() {
    // Hardly smaller when packed.
    let plain: Vec<u8> =
        (0..200_000u64).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    let packed = zstd(&plain);
    assert!(packed.len() > plain.len() / 2);
    for (limit, fits) in [(plain.len() + packed.len(), true), (plain.len() + packed.len() / 2, false)] {
        let budget = Budget::new(limit, 1);
        let mut held = budget.hold(Some(&acme()));
        let outcome = body::read(Body::from(packed.clone()), Encoding::Zstd, 64 << 20, &mut held).await;
        assert_eq!(
            outcome.map(|whole| whole.len()),
            if fits { Ok(plain.len()) } else { Err(BodyError::Busy) }
        );
        assert!(!fits || budget.used() == plain.len(), "what was packed is gone: {}", budget.used());
    }
}

/// A body of so many bytes that comes in pieces, each after a pause; how it ended, and after how long.
async fn paced(pieces: Vec<usize>, pause: Duration) -> (Result<usize, BodyError>, Duration) {
    let stream = futures_util::stream::iter(pieces).then(move |len| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(Bytes::from(vec![b' '; len]))
    });
    let budget = Budget::new(usize::MAX, 1);
    let (mut held, begun) = (budget.hold(Some(&acme())), tokio::time::Instant::now());
    let outcome = body::read(Body::from_stream(stream), Encoding::Identity, 64 << 20, &mut held).await;
    (outcome.map(|whole| whole.len()), begun.elapsed())
}

/// Who keeps room busy has to come on: at an even pace any body does, but not one of which only the last bytes drip.
#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_given_up_long_before_one_that_is_slow() {
    let pause = Duration::from_millis(2_500);
    let (outcome, took) = paced(std::iter::once(60 << 20).chain([1; 100]).collect(), pause).await;
    assert_eq!(outcome, Err(BodyError::Slow));
    assert!(took < Duration::from_secs(25), "{took:?}");
    for piece in [10, 4_000] {
        let (outcome, took) = paced(vec![piece; 45], pause).await;
        assert_eq!(outcome, Ok(45 * piece), "{took:?}");
        assert!(took > Duration::from_secs(110));
    }
    // One that stops and goes on is let in.
    let burst = [vec![1 << 20; 8], vec![200_000; 16]].concat();
    assert!(paced(burst, pause).await.0.is_ok());
    let (outcome, took) = paced(vec![1_000; 100], pause).await;
    assert_eq!(outcome, Err(BodyError::Slow), "there is an end to it: {took:?}");
}
