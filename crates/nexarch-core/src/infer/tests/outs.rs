//! R4 and R6: calls that nobody answered.

use crate::{
    facts::{Facts, RemoteKind},
    infer::{contribution, testing::*},
    span::Kind,
};

fn to(address: &str, span: Facts) -> Facts {
    span.with(|it| {
        it.address = address.into();
        it.protocol = "http".into();
    })
}

#[test]
fn a_call_without_server_names_peer_then_host() {
    let peer = to("10.0.0.9", client("a", 1, 0)).with(|it| it.peer = "pay".into());
    assert_eq!(edges(&contribution(&[peer])), ["client out a -> peer:pay [http] 1"]);
    let host = to("api.stripe.com", client("a", 1, 0));
    assert_eq!(edges(&contribution(&[host])), ["client out a -> host:api.stripe.com [http] 1"]);
    let nothing = contribution(&[client("a", 1, 0)]);
    assert_eq!(edges(&nothing), Vec::<String>::new());
    assert_eq!(count(&nothing, "note Untargeted a"), 1);
}

#[test]
fn the_server_span_replaces_the_named_host_and_teaches_its_address() {
    let call = to("pay.svc", client("a", 1, 0));
    let delta = contribution(&[call.clone(), server("pay", 2, 1)]);
    assert_eq!(edges(&delta), ["call pair a -> pay [http] 1", "client pair a -> pay [http] 1"]);
    assert_eq!(count(&delta, "learned pay.svc = pay"), 1);
    let crossing = contribution(&[call, local("pay", 2, 1)]);
    assert_eq!(edges(&crossing), ["call below a -> pay [http] 1", "client below a -> pay [http] 1"]);
}

#[test]
fn a_server_below_a_local_span_inside_the_call_answers_it_too() {
    let trace = [to("pay.svc", client("a", 1, 0)), local("a", 2, 1), server("pay", 3, 2)];
    assert_eq!(edges(&contribution(&trace)), ["call parent a -> pay 1"]);
}

#[test]
fn loopback_belongs_to_its_caller_and_teaches_nothing() {
    for address in
        ["localhost", "127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "::ffff:127.0.0.1", "x.localhost"]
    {
        let delta = contribution(&[to(address, client("a", 1, 0))]);
        assert_eq!(edges(&delta), ["client out a -> loopback:a [http] 1"], "{address}");
        let paired = contribution(&[to(address, client("a", 1, 0)), server("b", 2, 1)]);
        assert!(cells(&paired).keys().all(|key| !key.starts_with("learned")), "{address}");
    }
    let outside = contribution(&[to("128.0.0.1", client("a", 1, 0))]);
    assert_eq!(edges(&outside), ["client out a -> host:128.0.0.1 [http] 1"]);
}

#[test]
fn nested_calls_to_one_target_count_once_at_the_innermost() {
    let trace = [
        to("api.x", client("a", 1, 0)),
        local("a", 2, 1),
        Facts { duration_ns: Some(400_000), ..to("api.x", client("a", 3, 2)) },
    ];
    let delta = contribution(&trace);
    assert_eq!(edges(&delta), ["client out a -> host:api.x [http] 1"]);
    assert_eq!(cells(&delta)["client out a -> host:api.x [http]"].mean_us(), Some(400.0));

    let two = [to("api.x", client("a", 1, 0)), to("api.y", client("a", 2, 1))];
    assert_eq!(edges(&contribution(&two)).len(), 2, "another target is another call");
    let siblings = [to("api.x", client("a", 1, 0)), to("api.x", client("a", 2, 0))];
    assert_eq!(edges(&contribution(&siblings)), ["client out a -> host:api.x [http] 2"]);
    let other_request = [to("api.x", client("a", 1, 0)), server("a", 2, 1), to("api.x", client("a", 3, 2))];
    assert_eq!(
        edges(&contribution(&other_request)),
        ["client out a -> host:api.x [http] 1"],
        "a call inside another request of the service is no layer of the one that led to it"
    );
}

#[test]
fn a_wrapper_of_an_answered_call_is_not_counted_again() {
    let inner = [to("b.svc", client("a", 1, 0)), to("b.svc", client("a", 2, 1)), server("b", 3, 2)];
    assert_eq!(edges(&contribution(&inner)), ["call pair a -> b [http] 1", "client pair a -> b [http] 1"]);
    let by_name = [
        client("a", 1, 0).with(|it| it.peer = "b".into()),
        to("b.svc", client("a", 2, 1)),
        server("b", 3, 2),
    ];
    assert_eq!(edges(&contribution(&by_name)).len(), 2, "the wrapper names the service that answered inside");
    let outer = [to("b.svc", client("a", 1, 0)), to("b.svc", client("a", 2, 1)), server("b", 3, 1)];
    assert_eq!(edges(&contribution(&outer)), ["call pair a -> b [http] 1", "client pair a -> b [http] 1"]);
}

#[test]
fn a_database_is_system_address_and_namespace() {
    let delta = contribution(&[query("a", 1, 0, "orders-db")]);
    assert_eq!(edges(&delta), ["client out a -> database:orders-db/postgresql/shop [postgresql] 1"]);
    let cache = client("a", 1, 0).with(|it| {
        it.remote_kind = RemoteKind::Cache;
        it.protocol = "redis".into();
        it.address = "r1".into();
    });
    assert_eq!(edges(&contribution(&[cache])), ["client out a -> cache:r1/redis [redis] 1"]);
    let by_peer = query("a", 1, 0, "").with(|it| it.peer = "orders".into());
    assert_eq!(
        edges(&contribution(&[by_peer])),
        ["client out a -> database:orders/postgresql/shop [postgresql] 1"]
    );
}

#[test]
fn a_database_without_address_or_on_this_host_belongs_to_its_service() {
    for address in ["localhost", "127.0.0.1"] {
        assert_eq!(
            edges(&contribution(&[query("a", 1, 0, address)])),
            ["client out a -> owndatabase:a/postgresql/shop [postgresql] 1"]
        );
    }
    // In-process, where a namespace is a file: one node per system and service, however many files.
    assert_eq!(
        edges(&contribution(&[query("a", 1, 0, "")])),
        ["client out a -> owndatabase:a/postgresql [postgresql] 1"]
    );
}

#[test]
fn a_local_span_that_names_a_database_is_a_call() {
    let sqlite = Facts { kind: Kind::Internal, ..query("a", 2, 1, "") };
    assert_eq!(
        edges(&contribution(&[server("a", 1, 0), sqlite])),
        ["call in user: -> a 1", "client out a -> owndatabase:a/postgresql [postgresql] 1"]
    );
}

#[test]
fn a_real_server_below_a_database_call_wins() {
    let trace = [query("a", 1, 0, "dbproxy"), server("proxy", 2, 1)];
    assert_eq!(
        edges(&contribution(&trace)),
        ["call pair a -> proxy [postgresql] 1", "client pair a -> proxy [postgresql] 1"]
    );
}

#[test]
fn an_orm_over_a_driver_counts_the_driver() {
    let trace = [query("a", 1, 0, ""), query("a", 2, 1, "orders-db")];
    assert_eq!(
        edges(&contribution(&trace)),
        ["client out a -> database:orders-db/postgresql/shop [postgresql] 1"]
    );
}

#[test]
fn a_database_over_http_is_the_database() {
    let trace = [query("a", 1, 0, "es"), to("es", client("a", 2, 1))];
    assert_eq!(edges(&contribution(&trace)), ["client out a -> database:es/postgresql/shop [postgresql] 1"]);
    let model = client("a", 1, 0).with(|it| {
        it.remote_kind = RemoteKind::Model;
        it.protocol = "openai".into();
        it.target = "gpt".into();
    });
    assert_eq!(
        edges(&contribution(&[model, to("api.openai.com", client("a", 2, 1))])),
        ["client out a -> model:gpt/openai [openai] 1"]
    );
}

#[test]
fn a_sender_keeps_its_queue_and_a_broker_named_as_peer_is_one() {
    let lone = contribution(&[message("a", Kind::Producer, 1, 0, "q")]);
    assert_eq!(edges(&lone), ["client out a -> queue:q/kafka [kafka] 1"]);
    let zipkin = span("a", Kind::Producer, 1, 0).with(|it| it.peer = "kafka".into());
    assert_eq!(edges(&contribution(&[zipkin])), ["client out a -> queue:kafka 1"]);
    let layers = [message("a", Kind::Producer, 1, 0, "q"), message("a", Kind::Client, 2, 1, "q")];
    assert_eq!(edges(&contribution(&layers)), ["client out a -> queue:q/kafka [kafka] 1"], "create and send");
}

#[test]
fn client_only_services_have_entries_but_no_requests() {
    let delta = contribution(&[to("api.x", client("a", 1, 0))]);
    assert_eq!((count(&delta, "entry a"), count(&delta, "request a")), (1, 0));
}
