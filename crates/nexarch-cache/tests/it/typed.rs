//! Values of a type: what comes back, and what is not read as something else.

use crate::cluster::{Cluster, Node, cluster, cluster_with};
use crate::support::TTL;
use nexarch_cache::{Computed, Error, Operation, Outcome, Read, Typed};
use serde::de::DeserializeOwned;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Totals {
    orders: u64,
    names: Vec<String>,
    of: Option<f64>,
}

fn totals() -> Totals {
    Totals { orders: 300, names: vec!["cart".into(), "ünï".into()], of: Some(0.5) }
}

async fn read<T>(cluster: &Cluster, node: &Node, value: T) -> Result<Typed<T>, Error>
where
    T: Serialize + DeserializeOwned + Clone + Send + 'static,
{
    let compute = |_| async move { Ok(Computed::of(value)) };
    let read = node.cache.get_or_compute_typed(&cluster.acme, Read::new(node.overview, "p"), compute).await;
    node.written().await;
    read
}

#[tokio::test(start_paused = true)]
async fn a_value_comes_back_from_every_tier() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    for (node, expected) in [(one, "miss"), (one, "memory"), (other, "redis"), (other, "memory")] {
        let read = read(&cluster, node, totals()).await.unwrap();
        assert_eq!(read.value, totals());
        let came = match read.answer.outcome() {
            Outcome::Miss { .. } => "miss",
            Outcome::HitMemory { .. } => "memory",
            Outcome::HitRedis { .. } => "redis",
            other => panic!("{other:?}"),
        };
        assert_eq!(came, expected);
    }
}

/// What another version of the program left there is a miss.
#[tokio::test(start_paused = true)]
async fn what_is_of_another_schema_is_not_read() {
    let of = |schema: &'static str| {
        move |builder: nexarch_cache::Builder| {
            builder.operations([Operation::new("totals", TTL).with_schema(schema)])
        }
    };
    let mut cluster = cluster_with(1, of("1"));
    cluster.nodes[0].overview = cluster.nodes[0].cache.operation("totals").unwrap();
    read(&cluster, &cluster.nodes[0], totals()).await.unwrap();
    cluster.add(&of("2"));
    let node = cluster.nodes.last_mut().unwrap();
    node.overview = node.cache.operation("totals").unwrap();
    let node = cluster.nodes.last().unwrap();
    let outcome = read(&cluster, node, totals()).await.unwrap().answer.outcome();
    assert!(matches!(outcome, Outcome::Miss { .. }), "{outcome:?}");
    assert_eq!(node.rejected("other_schema"), 1);
}

/// No value is read as one of another type, although the bytes would do.
#[tokio::test(start_paused = true)]
async fn two_types_under_one_name_are_two_entries() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    read(&cluster, one, totals()).await.unwrap();
    let short = read(&cluster, one, (1u8, 2u8)).await.unwrap();
    assert_eq!(short.value, (1, 2));
    let again = read(&cluster, one, (3u8, 4u8)).await.unwrap();
    assert_eq!((again.value, cluster.entries().len()), ((1, 2), 2));
    assert_eq!(read(&cluster, one, totals()).await.unwrap().value, totals());
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Skips {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u8>,
    second: String,
}

#[tokio::test(start_paused = true)]
async fn a_type_that_does_not_survive_is_an_error_that_says_so() {
    let cluster = cluster(1);
    let skips = Skips { first: None, second: "x".into() };
    let error = read(&cluster, &cluster.nodes[0], skips).await.unwrap_err();
    assert!(matches!(error, Error::Decode(_)) && error.to_string().contains("skipped"), "{error}");
}

/// Takes every number but one.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Picky(u8);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        assert_ne!(number, 7, "a type that panics");
        Ok(Self(number))
    }
}

/// Whoever can write to the shared tier chooses the bytes: that a type does not like them is a miss, and no panic.
#[tokio::test(start_paused = true)]
async fn bytes_that_make_a_type_panic_are_a_miss() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let (cache, acme, overview) = (one.cache.clone(), cluster.acme.clone(), one.overview);
    let panics = tokio_util::task::TaskTracker::new().spawn(async move {
        let seven = |_| async { Ok(Computed::of(Picky(7))) };
        cache.get_or_compute_typed(&acme, Read::new(overview, "p"), seven).await.map(drop)
    });
    assert!(panics.await.unwrap_err().is_panic());
    one.written().await;
    let found = read(&cluster, other, Picky(1)).await.unwrap();
    assert_eq!((found.value, other.rejected("other_schema")), (Picky(1), 1));
}

/// Says of itself that it nests half a million times, as somebody may write it there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Tree {
    children: Vec<Tree>,
}

impl Serialize for Tree {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.children.is_empty() {
            return 0u8.serialize(serializer);
        }
        let depth = 500_000;
        let mut bytes = serializer.serialize_tuple(depth)?;
        (0..depth).try_for_each(|_| bytes.serialize_element(&1u8))?;
        bytes.end()
    }
}

/// A stack that overflows ends the process, and no value may.
#[tokio::test(start_paused = true)]
async fn bytes_that_nest_without_end_are_a_miss() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let flat = Tree { children: Vec::new() };
    let deep = Tree { children: vec![flat.clone()] };
    let error = read(&cluster, one, deep).await.unwrap_err();
    assert!(error.to_string().contains("it nests deeper than 128 levels"), "{error}");
    assert_eq!(cluster.entries().len(), 1, "and there it stands");
    let found = read(&cluster, other, flat.clone()).await.unwrap();
    assert_eq!((found.value, other.rejected("other_schema")), (flat, 1));
}
