//! R7: both legs of messages, by operation, kind, parent and link.

use crate::{
    facts::{
        Facts,
        Messaging::{Create, Process, Receive, Send, Settle},
        RemoteKind,
    },
    infer::{contribution, testing::*},
    span::Kind::{Client, Consumer, Internal, Producer, Server},
};

fn none() -> Vec<String> {
    Vec::new()
}

const TO_A: &str = "call in queue:q/kafka -> a [kafka] 1";
const FROM_A: &str = "client out a -> queue:q/kafka [kafka] 1";

#[test]
fn the_operation_says_which_way_and_the_kind_only_where_it_does_not() {
    for (operation, kind, expected) in [
        (Create, Producer, Some(FROM_A)),
        (Send, Producer, Some(FROM_A)),
        (Send, Client, Some(FROM_A)),
        (Send, Internal, Some(FROM_A)),
        (Send, Consumer, Some(FROM_A)),
        (Receive, Client, Some(TO_A)),
        (Receive, Consumer, Some(TO_A)),
        (Receive, Producer, Some(TO_A)),
        (Process, Consumer, Some(TO_A)),
        (Process, Server, Some(TO_A)),
        (Process, Internal, Some(TO_A)),
        (Settle, Client, None),
        (Settle, Producer, None),
        (Settle, Consumer, None),
        (Settle, Internal, None),
    ] {
        let delta = contribution(&[does(operation, message("a", kind, 1, 0, "q"))]);
        assert_eq!(edges(&delta), expected.into_iter().collect::<Vec<_>>(), "{operation:?} {kind:?}");
        let notes = count(&delta, "note Untargeted a") + count(&delta, "note Unanswered a");
        assert_eq!(notes, 0, "nothing is missing: {operation:?} {kind:?}");
    }
    for (kind, expected) in [(Producer, FROM_A), (Client, FROM_A), (Consumer, TO_A)] {
        assert_eq!(edges(&contribution(&[message("a", kind, 1, 0, "q")])), [expected], "{kind:?}");
    }
}

#[test]
fn asking_for_messages_is_no_request_and_processing_them_is() {
    let poll = contribution(&[does(Receive, message("a", Client, 1, 0, "q"))]);
    assert_eq!(count(&poll, "request a"), 0);
    let work = contribution(&[does(Process, message("a", Consumer, 1, 0, "q"))]);
    assert_eq!(count(&work, "request a"), 1);
    let missing_kind = [message("a", Producer, 1, 0, "q"), does(Process, message("b", Internal, 2, 1, "q"))];
    let delta = contribution(&missing_kind);
    assert_eq!(count(&delta, "request b"), 1, "an entry that calls itself INTERNAL");
    assert_eq!(
        edges(&delta),
        ["call in queue:q/kafka -> b [kafka] 1", FROM_A],
        "the queue stands between the two services"
    );
}

#[test]
fn a_delivery_that_is_asked_for_and_then_processed_is_one() {
    let polled = |inner| {
        [
            does(Receive, message("a", Client, 1, 0, "q")),
            local("a", 2, 1),
            does(Process, message("a", inner, 3, 2, "q")),
        ]
    };
    for inner in [Consumer, Internal] {
        assert_eq!(edges(&contribution(&polled(inner))), [TO_A], "{inner:?}");
    }
    let by_kind =
        [does(Receive, message("a", Consumer, 1, 0, "q")), does(Process, message("a", Consumer, 2, 1, "q"))];
    assert_eq!(edges(&contribution(&by_kind)), [TO_A]);
    let repeated =
        [does(Process, message("a", Consumer, 1, 0, "q")), does(Process, message("a", Internal, 2, 1, "q"))];
    assert_eq!(edges(&contribution(&repeated)), [TO_A]);
    let another =
        [does(Receive, message("a", Client, 1, 0, "p")), does(Process, message("a", Consumer, 2, 1, "q"))];
    assert_eq!(edges(&contribution(&another)).len(), 2, "another queue is another delivery");
    let elsewhere =
        [does(Receive, message("a", Client, 1, 0, "q")), does(Process, message("b", Consumer, 2, 1, "q"))];
    assert_eq!(edges(&contribution(&elsewhere)).len(), 2, "another service took another message");
}

#[test]
fn each_link_is_a_message_and_the_batch_one_operation() {
    let batch = linked(does(Process, message("b", Consumer, 9, 0, "q")), &[1, 2], 5);
    let trace = [
        local("a", 7, 0),
        message("a", Producer, 1, 7, "q"),
        message("a", Producer, 2, 7, "q"),
        batch.clone(),
    ];
    let delta = contribution(&trace);
    assert_eq!(
        edges(&delta),
        ["call in queue:q/kafka -> b [kafka] 1", "client out a -> queue:q/kafka [kafka] 2"]
    );
    assert_eq!(amount(&delta, "messages queue:q/kafka -> b"), 6, "six beyond the first");
    assert_eq!(count(&delta, "flow a -> queue:q/kafka -> b"), 2, "those whose sender is here");
    let late = contribution(&[batch]);
    assert_eq!(amount(&late, "messages queue:q/kafka -> b"), 6, "those that are not here are messages, too");
}

#[test]
fn a_parent_and_a_link_to_one_producer_are_one_message() {
    let consumer = does(Process, message("b", Consumer, 2, 1, "q"));
    let producer = message("a", Producer, 1, 0, "q");
    for links in [&[][..], &[1]] {
        let delta = contribution(&[producer.clone(), linked(consumer.clone(), links, 0)]);
        assert_eq!(edges(&delta), ["call in queue:q/kafka -> b [kafka] 1", FROM_A], "{links:?}");
        assert_eq!(amount(&delta, "messages queue:q/kafka -> b"), 0);
        assert_eq!(count(&delta, "flow a -> queue:q/kafka -> b"), 1, "{links:?}");
    }
    let delta = contribution(&[producer, message("a", Producer, 3, 0, "q"), linked(consumer, &[3], 0)]);
    assert_eq!(amount(&delta, "messages queue:q/kafka -> b"), 1, "a parent and a link to another are two");
}

#[test]
fn links_to_what_sends_nothing_are_no_messages() {
    let trace = [
        server("a", 1, 0),
        message("a", Producer, 2, 1, "q"),
        linked(does(Process, message("b", Consumer, 3, 0, "q")), &[1, 2], 0),
    ];
    let delta = contribution(&trace);
    assert_eq!(amount(&delta, "messages queue:q/kafka -> b"), 0);
    assert_eq!(count(&delta, "flow a -> queue:q/kafka -> b"), 1);
}

#[test]
fn the_size_of_a_batch_counts_where_links_do_not_tell() {
    let of = |span: Facts| contribution(&[span]);
    let taken = does(Process, message("a", Consumer, 1, 0, "q"));
    assert_eq!(amount(&of(batch(7, taken.clone())), "messages queue:q/kafka -> a"), 6);
    assert_eq!(amount(&of(batch(7, linked(taken.clone(), &[], 9))), "messages queue:q/kafka -> a"), 8);
    assert_eq!(amount(&of(batch(7, linked(taken, &[], 3))), "messages queue:q/kafka -> a"), 6);
    let empty = of(batch(0, does(Receive, message("a", Client, 1, 0, "q"))));
    assert_eq!(amount(&empty, "messages queue:q/kafka -> a"), -1, "asked, and there was none");
    let sent = of(batch(5, does(Send, message("a", Client, 1, 0, "q"))));
    assert_eq!(amount(&sent, "messages a -> queue:q/kafka"), 4);
}

#[test]
fn messages_that_are_made_one_by_one_and_sent_together_are_one_operation() {
    let made = |id| does(Create, message("a", Producer, id, 1, "q"));
    let trace = [
        server("a", 1, 0),
        made(2),
        made(3),
        made(4),
        linked(does(Send, message("a", Client, 5, 1, "q")), &[2, 3, 4], 0),
        linked(does(Process, message("b", Consumer, 6, 0, "q")), &[3], 0),
    ];
    let delta = contribution(&trace);
    assert_eq!(
        edges(&delta),
        ["call in queue:q/kafka -> b [kafka] 1", "call in user: -> a 1", FROM_A],
        "the spans that made them send nothing themselves"
    );
    assert_eq!(amount(&delta, "messages a -> queue:q/kafka"), 2);
    assert_eq!(count(&delta, "flow a -> queue:q/kafka -> b"), 1);
}

#[test]
fn a_linked_producer_lends_its_queue_or_takes_the_one_of_its_consumer() {
    let named = [message("a", Producer, 1, 0, "q"), linked(span("b", Consumer, 2, 0), &[1], 0)];
    assert_eq!(edges(&contribution(&named)), ["call in queue:q/kafka -> b [kafka] 1", FROM_A]);
    let unnamed = [span("a", Producer, 1, 0), linked(message("b", Consumer, 2, 0, "q"), &[1], 0)];
    let delta = contribution(&unnamed);
    assert_eq!(edges(&delta), ["call in queue:q/kafka -> b [kafka] 1", FROM_A]);
    assert_eq!(count(&delta, "note Untargeted a"), 0);
}

#[test]
fn a_link_alone_is_a_pair_where_nobody_names_a_queue() {
    let trace = [
        span("a", Producer, 1, 0),
        span("a", Producer, 2, 0),
        span("c", Producer, 3, 0),
        linked(span("b", Consumer, 4, 0), &[1, 2, 3], 0),
    ];
    assert_eq!(
        edges(&contribution(&trace)),
        ["call pair a -> b 1", "call pair c -> b 1", "client pair a -> b 2", "client pair c -> b 1"]
    );
}

#[test]
fn a_consumer_under_a_server_of_its_own_or_of_its_producer_keeps_its_queue() {
    let own = [
        message("a", Producer, 9, 0, "q"),
        server("b", 1, 0),
        local("b", 2, 1),
        linked(does(Process, message("b", Consumer, 3, 2, "q")), &[9], 0),
    ];
    let delta = contribution(&own);
    assert_eq!(edges(&delta), ["call in queue:q/kafka -> b [kafka] 1", "call in user: -> b 1", FROM_A]);
    assert_eq!(count(&delta, "flow a -> queue:q/kafka -> b"), 1);
    // The parent is a span of the sender, and the link its PRODUCER: one leg, not two.
    let both = [
        server("a", 1, 0),
        message("a", Producer, 2, 1, "q"),
        linked(does(Process, message("b", Consumer, 3, 1, "q")), &[2], 0),
    ];
    assert_eq!(
        edges(&contribution(&both)),
        ["call in queue:q/kafka -> b [kafka] 1", "call in user: -> a 1", FROM_A]
    );
}

#[test]
fn the_time_in_the_queue_is_from_the_end_of_sending_to_the_begin_of_processing() {
    let sent = message("a", Producer, 1, 0, "q");
    let after =
        |ns: u64| Facts { start_ns: sent.end_ns() + ns, ..does(Process, message("b", Consumer, 2, 1, "q")) };
    let wait = |taken: Facts| {
        let all = cells(&contribution(&[sent.clone(), taken]));
        let flow = &all["flow a -> queue:q/kafka -> b"];
        (flow.count, flow.mean_us())
    };
    assert_eq!(wait(after(250_000)), (1, Some(250.0)));
    assert_eq!(wait(after(0)), (1, None));
    let early = Facts { start_ns: sent.start_ns, ..after(0) };
    assert_eq!(wait(early), (1, None), "clocks that differ show nothing");
    let asked = does(Receive, after(250_000));
    assert_eq!(wait(asked), (1, None), "who asks may have asked before it was sent");
}

#[test]
fn a_queue_over_http_is_the_queue() {
    let carrier = client("a", 2, 1).with(|it| {
        it.address = "sqs.example".into();
        it.protocol = "http".into();
    });
    for operation in [Send, Receive, Settle] {
        let trace = [does(operation, message("a", Client, 1, 0, "q")), carrier.clone()];
        let hosts = edges(&contribution(&trace)).iter().filter(|edge| edge.contains("host:")).count();
        assert_eq!(hosts, 0, "{operation:?}");
    }
    let elsewhere = carrier.with(|it| it.address = "api.example".into());
    let sending = message("a", Client, 1, 0, "q").with(|it| it.address = "kafka-0".into());
    assert_eq!(edges(&contribution(&[sending, elsewhere])).len(), 2, "another host is another call");
}

#[test]
fn a_broker_that_is_traced_is_called_and_is_no_consumer() {
    let trace =
        [does(Send, message("a", Client, 1, 0, "q")), does(Receive, message("broker", Server, 2, 1, "q"))];
    assert_eq!(
        edges(&contribution(&trace)),
        ["call pair a -> broker [kafka] 1", "client pair a -> broker [kafka] 1"]
    );
}

#[test]
fn messages_weigh_what_their_receiver_weighs() {
    let taken = linked(does(Process, message("b", Consumer, 2, 1, "q")), &[1], 3);
    let trace =
        [Facts { weight: 2 * 256, ..message("a", Producer, 1, 0, "q") }, Facts { weight: 10 * 256, ..taken }];
    let delta = contribution(&trace);
    assert_eq!(amount(&delta, "messages queue:q/kafka -> b"), 30);
    assert_eq!(cells(&delta)["flow a -> queue:q/kafka -> b"].weight, 10 * 256);
    assert_eq!(cells(&delta)["client out a -> queue:q/kafka [kafka]"].weight, 2 * 256);
}

#[test]
fn what_names_no_queue_settles_nothing_and_is_an_ordinary_call() {
    let plain = span("a", Client, 1, 0).with(|it| it.remote_kind = RemoteKind::Service);
    assert_eq!(edges(&contribution(&[plain, server("b", 2, 1)])).len(), 2);
    assert_eq!(edges(&contribution(&[does(Settle, span("a", Producer, 1, 0))])), none());
}
