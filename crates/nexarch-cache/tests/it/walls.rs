//! Nothing that is put into parameters, scopes or operations reaches what belongs to another.

use crate::support::{cases, scope, world};
use nexarch_cache::{Cause, Computed, Error, Invalidation, Outcome, Read, Scope};
use proptest::prelude::*;
use std::collections::HashMap;

fn nasty() -> Vec<String> {
    let mut params: Vec<String> = [
        "",
        "*",
        "?",
        ":",
        "::",
        "{",
        "}",
        "{acme}",
        "\0",
        "\0\0",
        "a\0",
        "\r\n",
        " ",
        "acme:overview:",
        "%00",
        "\u{202e}",
        "e\u{301}",
        "é",
        "İ",
        "ı",
        "\u{feff}",
        "🦀",
        "../..",
        "window=24h",
        "window=24h ",
        "WINDOW=24H",
    ]
    .map(String::from)
    .into();
    params.push("x".repeat(1 << 20));
    params.push(format!("{}y", "x".repeat((1 << 20) - 1)));
    params
}

#[tokio::test]
async fn nasty_parameters_stay_apart_in_every_scope_and_operation() {
    let world = world(true);
    let scopes = ["acme", "acm", "a", "acme-overview", "acme_"].map(scope);
    let operations = [world.overview, world.services];
    for round in 0..2 {
        for scope in &scopes {
            for operation in operations {
                for params in nasty() {
                    let own = format!("{scope} {operation:?} {params}");
                    let body = own.clone();
                    let compute = move |_| async move { Ok(Computed::new(body)) };
                    let read = Read::new(operation, &params);
                    let answer = world.cache.get_or_compute(scope, read, compute).await.unwrap();
                    assert_eq!(answer.body(), own.as_bytes());
                    assert_eq!(matches!(answer.outcome(), Outcome::HitMemory { .. }), round == 1);
                }
            }
        }
    }
    world.cache.invalidate(&scopes[0], Invalidation::All, Cause::Manual).await.unwrap();
    for (n, scope) in scopes.iter().enumerate() {
        let read = Read::new(world.overview, "*");
        let answer =
            world.cache.get_or_compute(scope, read, |_| async { Ok(Computed::new("new")) }).await.unwrap();
        assert_eq!(answer.body() == "new", n == 0, "{scope}");
    }
}

#[test]
fn only_plain_names_are_scopes() {
    for name in ["a", "0", "acme", "a-b_c", &"x".repeat(63)] {
        assert_eq!(Scope::new(name).unwrap().as_str(), name);
    }
    let long = "x".repeat(64);
    for name in ["", "A", "-a", "_a", "a:b", "a*", "a b", "a\0", "é", "{a}", "a.b", "a/b", "\u{430}", &long]
    {
        assert!(matches!(Scope::new(name), Err(Error::InvalidName { .. })), "{name:?}");
    }
    let huge = Scope::new(&"é:".repeat(1 << 20)).unwrap_err().to_string();
    assert!(huge.len() < 300);
}

#[tokio::test]
async fn a_key_has_four_parts_and_is_of_one_database() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    let key = world.cache.key(&world.acme, world.overview, "a:b*\0{x}").unwrap();
    let parts: Vec<_> = key.split(':').collect();
    assert_eq!(parts[..3], ["cache", "acme", "overview"]);
    assert!(parts.len() == 4 && parts[3].len() == 32 && parts[3].bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(key, world.cache.key(&world.acme, world.overview, "a:b*\0{x}").unwrap());
    let other = crate::support::world(true);
    other.db.lock().epoch = 8;
    other.read(other.overview).await.unwrap();
    assert_ne!(key, other.cache.key(&world.acme, other.overview, "a:b*\0{x}").unwrap());
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn each_parameter_gets_its_own_value(all in prop::collection::vec(("[a-c]{1,2}", ".{0,6}"), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = world(true);
            let mut seen: HashMap<(String, String), usize> = HashMap::new();
            for (n, (name, params)) in all.into_iter().enumerate() {
                let scope = scope(&name);
                let read = Read::new(world.overview, &params);
                let compute = move |_| async move { Ok(Computed::new(n.to_string())) };
                let answer = world.cache.get_or_compute(&scope, read, compute).await.unwrap();
                let expected = *seen.entry((name, params)).or_insert(n);
                assert_eq!(answer.body(), expected.to_string().as_bytes());
            }
        });
    }
}

/// A scope finds its entries without asking where it was at home first. Another cache is another home.
#[tokio::test]
async fn one_scope_used_with_two_caches_gets_from_each_its_own() {
    let (first, second, shared) = (world(true), world(true), scope("acme"));
    for (world, body) in
        [(&first, "one"), (&first, "one"), (&second, "two"), (&second, "two"), (&first, "one")]
    {
        let compute = move |_| async move { Ok(Computed::new(body)) };
        let answer =
            world.cache.get_or_compute(&shared, Read::new(world.overview, "p"), compute).await.unwrap();
        assert_eq!(&answer.body()[..], body.as_bytes());
    }
    for (world, hits) in [(&first, 2), (&second, 1)] {
        assert_eq!(world.cache.stats(&shared).totals.hits, hits);
    }
}

/// A scope that was forgotten is not at home where it was: it is met anew, and hits again.
#[tokio::test]
async fn a_scope_that_was_forgotten_hits_again() {
    let world = world(true);
    for hit in [false, true] {
        assert_eq!(
            matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::HitMemory { .. }),
            hit
        );
    }
    world.cache.forget(&world.acme);
    for hit in [false, true, true] {
        assert_eq!(
            matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::HitMemory { .. }),
            hit
        );
    }
}
