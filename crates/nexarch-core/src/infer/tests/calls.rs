//! R1, R2, R3, R5 and the queues of R7.

use crate::{
    facts::Facts,
    infer::{contribution, testing::*},
    span::Kind,
};

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_client_and_a_server_are_one_call() {
    let trace = [server("shop", 1, 0), client("shop", 2, 1), server("pay", 3, 2)];
    let delta = contribution(&trace);
    assert_eq!(
        edges(&delta),
        ["call in user: -> shop 1", "call pair shop -> pay 1", "client pair shop -> pay 1"]
    );
    assert_eq!(count(&delta, "request shop"), 1);
    assert_eq!(count(&delta, "request pay"), 1);
    assert_eq!(count(&delta, "operation pay op3"), 1);
    assert_eq!(count(&delta, "entry shop"), 1);
    assert_eq!(count(&delta, "entry pay"), 0);
    assert_eq!(count(&delta, "spans shop"), 2);
}

#[test]
fn entry_requests_that_failed_keep_their_durations_and_nothing_else_does() {
    let failed = |span: Facts, ms: u64| Facts { error: true, duration_ns: Some(ms * 1_000_000), ..span };
    let below = [client("shop", 2, 1), failed(server("pay", 3, 2), 7)];
    let delta = contribution(&[&[failed(server("shop", 1, 0), 9)][..], &below].concat());
    let all = cells(&delta);
    assert_eq!((all["failed shop"].errors, all["failed shop"].mean_us()), (1, Some(9000.0)));
    assert!(!all.contains_key("failed pay"), "it did not enter there");
    let good = contribution(&[&[server("shop", 1, 0)][..], &below].concat());
    assert_eq!(count(&good, "failed shop"), 0);
    let mut sum = good.clone();
    sum.add(&delta);
    sum.subtract(&delta);
    assert_eq!(sum, good);
}

#[test]
fn an_edge_has_the_duration_of_each_half_and_fails_when_either_does() {
    let c = Facts { duration_ns: Some(9_000_000), ..client("a", 1, 0) };
    let s = Facts { duration_ns: Some(4_000_000), error: true, ..server("b", 2, 1) };
    let all = cells(&contribution(&[c.clone(), s.clone()]));
    assert_eq!(all["client pair a -> b"].mean_us(), Some(9000.0));
    assert_eq!(all["call pair a -> b"].mean_us(), Some(4000.0));
    assert_eq!(all["call pair a -> b"].errors, 1, "the server failed");
    assert_eq!(all["client pair a -> b"].errors, 0, "the client saw no failure");

    let all = cells(&contribution(&[Facts { error: true, ..c }, Facts { error: false, ..s }]));
    assert_eq!(all["call pair a -> b"].errors, 1, "the client failed");
    assert_eq!(all["request b"].errors, 0, "the callee's own status is taken, not recomputed");
}

#[test]
fn several_servers_under_one_client_are_several_calls_and_one_request() {
    let trace = [client("a", 1, 0), server("b", 2, 1), server("b", 3, 1), server("c", 4, 1)];
    assert_eq!(
        edges(&contribution(&trace)),
        ["call pair a -> b 2", "call pair a -> c 1", "client pair a -> b 1", "client pair a -> c 1"]
    );
}

#[test]
fn parts_of_a_half_are_no_call_of_their_own() {
    // Zipkin: both halves of a call share an id, and the server sent a part of its half by itself.
    let halves = [server("a", 1, 0), client("a", 2, 1), server("b", 2, 1)];
    let expected = edges(&contribution(&halves));
    for part in [bare("b", 2, 1), bare("a", 2, 1), local("b", 2, 1)] {
        let trace = [&halves[..], &[Facts { start_ns: part.start_ns + 1, ..part }]].concat();
        let delta = contribution(&trace);
        assert_eq!(edges(&delta), expected);
        assert_eq!(count(&delta, "request b"), 1);
    }
    // The same part without its half stands for the missing entry.
    let delta = contribution(&[server("a", 1, 0), client("a", 2, 1), bare("b", 2, 1)]);
    assert!(edges(&delta).contains(&"call parent a -> b 1".to_owned()), "{:?}", edges(&delta));
}

#[test]
fn local_spans_of_the_callee_are_skipped() {
    let trace = [client("a", 1, 0), local("b", 2, 1), bare("b", 3, 2), server("b", 4, 3)];
    let delta = contribution(&trace);
    assert_eq!(edges(&delta), ["call pair a -> b 1", "client pair a -> b 1"]);
    assert_eq!(count(&delta, "request b"), 1, "the locals above are the inside of the request");
}

#[test]
fn a_server_below_a_local_or_server_span_of_another_service_is_inferred_from_its_parent() {
    assert_eq!(edges(&contribution(&[local("a", 1, 0), server("b", 2, 1)])), ["call parent a -> b 1"]);
    assert_eq!(
        edges(&contribution(&[server("a", 1, 0), server("b", 2, 1)])),
        ["call in user: -> a 1", "call parent a -> b 1"]
    );
}

#[test]
fn a_call_to_oneself_is_no_edge() {
    let delta = contribution(&[client("a", 1, 0), server("a", 2, 1)]);
    assert_eq!(edges(&delta), none());
    assert_eq!(count(&delta, "request a"), 1);
    assert_eq!(count(&delta, "note Untargeted a"), 0, "it was answered");
}

#[test]
fn one_name_in_two_environments_is_two_services() {
    let staged = |span: Facts| span.with(|it| it.environment = "test".into());
    let trace = [client("a", 1, 0), staged(server("a", 2, 1))];
    assert_eq!(edges(&contribution(&trace)), ["call pair a -> a@test 1", "client pair a -> a@test 1"]);
}

#[test]
fn crossings_count_once_per_parent_when_the_parent_has_a_kind() {
    let trace = [client("a", 1, 0), local("b", 2, 1), local("b", 3, 1), client("b", 4, 1)];
    let delta = contribution(&trace);
    assert_eq!(edges(&delta), ["call below a -> b 1", "client below a -> b 1"]);
    assert_eq!(count(&delta, "request b"), 1);
    let all = cells(&delta);
    let span = all["request b"].mean_us().unwrap();
    assert!((span - 1001.0).abs() < 0.01, "from the first start to the last end of the locals: {span}");

    let trace = [server("a", 1, 0), local("b", 2, 1), local("b", 3, 1)];
    assert_eq!(edges(&contribution(&trace)), ["call in user: -> a 1", "call parent a -> b 1"]);
}

#[test]
fn crossings_count_each_when_nobody_has_a_kind() {
    let trace = [bare("a", 1, 0), bare("b", 2, 1), bare("b", 3, 1), bare("b", 4, 3), bare("c", 5, 4)];
    let delta = contribution(&trace);
    assert_eq!(edges(&delta), ["call parent a -> b 2", "call parent b -> c 1"]);
    assert_eq!(count(&delta, "request b"), 2, "the inner span of b is no request");
    assert_eq!(count(&delta, "request a"), 1, "a root without kind is a request");
    assert_eq!(count(&delta, "entry a"), 1);
    assert_eq!(count(&delta, "entry b"), 0);
}

#[test]
fn no_crossing_is_counted_where_an_entry_span_pairs_through_it_or_beside_it() {
    let through = [bare("a", 1, 0), bare("b", 2, 1), server("b", 3, 2)];
    assert_eq!(edges(&contribution(&through)), ["call parent a -> b 1"]);
    let beside = [client("a", 1, 0), local("b", 2, 1), server("b", 3, 1)];
    assert_eq!(edges(&contribution(&beside)), ["call pair a -> b 1", "client pair a -> b 1"]);
}

#[test]
fn a_crossing_client_is_called_and_calls() {
    let trace = [server("a", 1, 0), client("b", 2, 1), server("c", 3, 2)];
    let delta = contribution(&trace);
    assert_eq!(
        edges(&delta),
        ["call in user: -> a 1", "call pair b -> c 1", "call parent a -> b 1", "client pair b -> c 1"]
    );
    let all = cells(&delta);
    assert_eq!(all["request b"].count, 1);
    assert_eq!(all["request b"].timed, 0, "a client's duration is not its service's");
}

#[test]
fn shared_ids_pair_client_and_server() {
    let trace =
        [server("a", 1, 0), client("a", 2, 1), server("b", 2, 1), local("b", 3, 2), client("a", 4, 2)];
    let delta = contribution(&trace);
    assert_eq!(
        edges(&delta),
        ["call in user: -> a 1", "call pair a -> b 1", "client pair a -> b 1"],
        "children take the half of their own service"
    );
}

#[test]
fn a_stranger_below_a_shared_id_hangs_under_the_server() {
    let trace = [client("a", 2, 0), server("b", 2, 0), local("c", 3, 2)];
    assert_eq!(
        edges(&contribution(&trace)),
        ["call pair a -> b 1", "call parent b -> c 1", "client pair a -> b 1"]
    );
}

#[test]
fn an_entry_span_below_a_shared_id_hangs_under_the_client() {
    // Both halves of the call have id 2; the server half sorts first.
    let trace = [client("z", 2, 0), server("b", 2, 0), server("c", 3, 2)];
    assert_eq!(
        edges(&contribution(&trace)),
        ["call pair z -> b 1", "call pair z -> c 1", "client pair z -> b 1", "client pair z -> c 1"]
    );
}

#[test]
fn five_consumers_of_one_broadcast_share_an_id_and_all_count() {
    let mut trace = vec![message("a", Kind::Producer, 1, 0, "news")];
    for host in 1..=5 {
        trace.push(message("b", Kind::Consumer, 2, 1, "news").with(|it| it.instance = host));
    }
    let delta = contribution(&trace);
    assert_eq!(
        edges(&delta),
        ["call in queue:news/kafka -> b [kafka] 5", "client out a -> queue:news/kafka [kafka] 1"]
    );
    assert_eq!(count(&delta, "entry b"), 0);
}

#[test]
fn a_consumer_keeps_its_queue_whatever_it_hangs_under() {
    let root = contribution(&[message("b", Kind::Consumer, 1, 0, "news")]);
    assert_eq!(edges(&root), ["call in queue:news/kafka -> b [kafka] 1"]);
    assert_eq!(count(&root, "entry b"), 1, "a root");
    let own_server = contribution(&[server("b", 1, 0), message("b", Kind::Consumer, 2, 1, "news")]);
    assert_eq!(edges(&own_server), ["call in queue:news/kafka -> b [kafka] 1", "call in user: -> b 1"]);
    let late = contribution(&[message("b", Kind::Consumer, 1, 9, "news")]);
    assert_eq!(edges(&late), ["call in queue:news/kafka -> b [kafka] 1"]);
}

#[test]
fn both_legs_of_a_message_meet_in_one_queue_and_without_a_queue_in_one_edge() {
    let receiver_names_it = [span("a", Kind::Producer, 1, 0), message("b", Kind::Consumer, 2, 1, "q")];
    assert_eq!(
        edges(&contribution(&receiver_names_it)),
        ["call in queue:q/kafka -> b [kafka] 1", "client out a -> queue:q/kafka [kafka] 1"]
    );
    let sender_names_it = [message("a", Kind::Producer, 1, 0, "q"), span("b", Kind::Consumer, 2, 1)];
    assert_eq!(
        edges(&contribution(&sender_names_it)),
        ["call in queue:q/kafka -> b [kafka] 1", "client out a -> queue:q/kafka [kafka] 1"]
    );
    let local_sender = [local("a", 1, 0), message("b", Kind::Consumer, 2, 1, "q")];
    assert_eq!(
        edges(&contribution(&local_sender)),
        ["call in queue:q/kafka -> b [kafka] 1", "call parent a -> queue:q/kafka [kafka] 1"]
    );
    let nobody_names_it = [span("a", Kind::Producer, 1, 0), span("b", Kind::Consumer, 2, 1)];
    assert_eq!(edges(&contribution(&nobody_names_it)), ["call pair a -> b 1", "client pair a -> b 1"]);
}

#[test]
fn the_user_calls_root_servers_only() {
    assert_eq!(edges(&contribution(&[server("a", 1, 0)])), ["call in user: -> a 1"]);
    let orphan = contribution(&[server("a", 1, 9)]);
    assert_eq!(edges(&orphan), none(), "a late parent is normal");
    assert_eq!(count(&orphan, "note Orphan a"), 1);
    assert_eq!(count(&orphan, "entry a"), 1);
    let lost = contribution(&[Facts { remote: 1, ..server("a", 1, 9) }]);
    assert_eq!((count(&lost, "note LostLocal a"), count(&lost, "note Orphan a")), (1, 0));
    let remote = contribution(&[Facts { remote: 3, ..server("a", 1, 9) }]);
    assert_eq!(count(&remote, "note Orphan a"), 1);
    assert_eq!(edges(&contribution(&[local("a", 1, 0), client("a", 2, 0)])), none());
    assert_eq!(edges(&contribution(&[server("a", 1, 1)])), ["call in user: -> a 1"], "self-parent = root");
}

#[test]
fn a_server_below_a_local_root_is_the_request_and_the_root_is_the_entry() {
    let delta = contribution(&[local("a", 1, 0), server("a", 2, 1)]);
    assert_eq!((count(&delta, "request a"), count(&delta, "entry a")), (1, 1));
    assert_eq!(edges(&delta), none());
    let delta = contribution(&[bare("a", 1, 9), server("a", 2, 1)]);
    assert_eq!((count(&delta, "request a"), count(&delta, "entry a")), (1, 1));
}

#[test]
fn a_repeated_span_counts_once_and_an_update_by_its_last_state() {
    let first = server("a", 1, 0);
    let ended_later = Facts { duration_ns: Some(5_000_000), error: true, content: 9, ..first.clone() };
    for trace in [[first.clone(), ended_later.clone()], [ended_later.clone(), first.clone()]] {
        assert_eq!(contribution(&trace), contribution(std::slice::from_ref(&ended_later)));
    }
    let retry = Facts { start_ns: first.start_ns + 5, ..first.clone() };
    assert_eq!(count(&contribution(&[first, retry]), "request a"), 2, "another start is another attempt");
}

#[test]
fn a_span_without_duration_counts_but_has_no_latency() {
    let delta = contribution(&[Facts { duration_ns: None, ..server("a", 1, 0) }]);
    let cell = &cells(&delta)["request a"];
    assert_eq!((cell.count, cell.timed, cell.mean_us()), (1, 0, None));
}

#[test]
fn each_half_counts_with_its_own_weight() {
    let c = Facts { weight: 4 * 256, ..client("a", 1, 0) };
    let s = Facts { weight: 10 * 256, ..server("b", 2, 1) };
    let all = cells(&contribution(&[c, s]));
    assert_eq!(all["client pair a -> b"].weight, 4 * 256);
    assert_eq!(all["call pair a -> b"].weight, 10 * 256);
    assert_eq!(all["call pair a -> b"].count, 1);
}

#[test]
fn each_half_counts_in_the_minute_in_which_it_starts() {
    let c = client("a", 1, 0);
    let s = Facts { start_ns: c.start_ns + 61_000_000_000, ..server("b", 2, 1) };
    let delta = contribution(&[c, s]);
    let minutes: Vec<u32> = delta.encode().into_iter().map(|(minute, _)| minute).collect();
    assert_eq!(minutes, [1_000_000, 1_000_001]);
}

#[test]
fn parent_cycles_end() {
    let trace = [server("a", 1, 3), server("b", 2, 1), server("c", 3, 2), local("c", 4, 3)];
    let delta = contribution(&trace);
    assert_eq!(
        edges(&delta),
        ["call parent a -> b 1", "call parent b -> c 1"],
        "cut at the first span, which is an orphan"
    );
    assert_eq!(count(&delta, "note Orphan a"), 1);
}

#[test]
fn a_cycle_is_cut_at_its_first_span_wherever_it_is_entered() {
    // 2 → 3 → 4 → 2, and 1 hangs under 4.
    let trace = [server("t", 1, 4), server("a", 2, 4), server("b", 3, 2), server("c", 4, 3)];
    assert_eq!(
        edges(&contribution(&trace)),
        ["call parent a -> b 1", "call parent b -> c 1", "call parent c -> t 1"]
    );
}
