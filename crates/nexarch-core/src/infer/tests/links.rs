//! R7 across traces: what is linked counts as if it were one trace.

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    facts::{
        Extra, Facts,
        Messaging::{self, Create, Process, Receive, Send, Settle, Unstated},
    },
    ids::SpanId,
    infer::{MAX_ENDS, Wants, contribution, ends, testing::*},
    span::Kind::{self, Client, Consumer, Internal, Producer, Server},
};

const TO_B: &str = "call in queue:q/kafka -> b [kafka] 1";
const FROM_A: &str = "client out a -> queue:q/kafka [kafka] 1";
const FLOW: &str = "flow a -> queue:q/kafka -> b";

fn sent(trace: u8, id: u64) -> Facts {
    in_trace(trace, message("a", Producer, id, 0, "q"))
}

fn taken(links: &[(u8, u64)]) -> Facts {
    far(does(Process, message("b", Consumer, 9, 0, "q")), links)
}

#[test]
fn a_link_into_another_trace_is_a_flow_with_its_time_in_the_queue() {
    let sent = sent(1, 5);
    let taken = Facts { start_ns: sent.end_ns() + 250_000, ..taken(&[(1, 5)]) };
    let apart = together(std::slice::from_ref(&taken));
    assert_eq!((count(&apart, FLOW), count(&apart, "note Unlinked b")), (0, 1));
    let delta = together(&[sent.clone(), taken.clone()]);
    assert_eq!(edges(&delta), [TO_B, FROM_A]);
    let flow = &cells(&delta)[FLOW];
    assert_eq!((flow.count, flow.mean_us()), (1, Some(250.0)));
    assert_eq!(count(&delta, "note Unlinked b"), 0);
    let before = Facts { start_ns: sent.start_ns, ..taken };
    assert_eq!(cells(&together(&[sent, before]))[FLOW].mean_us(), None, "clocks that differ show nothing");
}

#[test]
fn each_link_is_a_message_wherever_it_leads() {
    let batch = taken(&[(1, 5), (2, 5), (3, 5), (4, 5)]);
    let stranger = in_trace(3, server("a", 5, 0));
    let delta = together(&[sent(1, 5), sent(2, 5), stranger, batch]);
    assert_eq!(amount(&delta, "messages queue:q/kafka -> b"), 2, "two that sent, one that is not here");
    assert_eq!((count(&delta, FLOW), count(&delta, "note Unlinked b")), (2, 1));
}

#[test]
fn where_nobody_names_a_queue_both_legs_are_a_pair_and_the_sender_counts_once() {
    let sender = in_trace(1, span("a", Producer, 5, 0));
    let takes = |trace, service| in_trace(trace, far(span(service, Consumer, 9, 0), &[(1, 5)]));
    let delta = together(&[sender.clone(), takes(2, "b"), takes(3, "b"), takes(4, "c")]);
    assert_eq!(
        edges(&delta),
        ["call pair a -> b 2", "call pair a -> c 1", "client pair a -> b 1", "client pair a -> c 1"]
    );
    assert_eq!(count(&delta, "note Untargeted a"), 0);
    assert_eq!(count(&together(&[sender]), "note Untargeted a"), 1);
}

#[test]
fn one_end_lends_the_other_its_queue() {
    let named = [sent(1, 5), far(span("b", Consumer, 9, 0), &[(1, 5)])];
    assert_eq!(edges(&together(&named)), [TO_B, FROM_A]);
    let unnamed = [in_trace(1, span("a", Producer, 5, 0)), taken(&[(1, 5)])];
    let delta = together(&unnamed);
    assert_eq!(edges(&delta), [TO_B, FROM_A]);
    assert_eq!(count(&delta, "note Untargeted a"), 0);
}

#[test]
fn what_is_made_in_one_trace_and_sent_in_another_is_sent_once() {
    let made = |trace| in_trace(trace, does(Create, message("a", Producer, 5, 0, "q")));
    let sends = far(does(Send, message("a", Client, 9, 0, "q")), &[(1, 5), (2, 5)]);
    let delta = together(&[made(1), made(2), sends]);
    assert_eq!(edges(&delta), [FROM_A]);
    assert_eq!(amount(&delta, "messages a -> queue:q/kafka"), 1);
}

#[test]
fn a_client_that_sends_counts_whoever_takes_it() {
    for kind in [Consumer, Server, Internal] {
        let near = [
            does(Send, message("a", Client, 1, 0, "q")),
            linked(does(Process, message("b", kind, 2, 0, "q")), &[1], 0),
        ];
        assert_eq!(edges(&contribution(&near)), [TO_B, FROM_A], "{kind:?}");
    }
}

#[test]
fn the_best_version_of_an_end_counts() {
    let old = sent(1, 5);
    let new = Facts { duration_ns: Some(2_000_000), ..old.clone() };
    let taken = Facts { start_ns: new.end_ns() + 1_000_000, ..taken(&[(1, 5)]) };
    let once = together(&[new.clone(), taken.clone()]);
    for spans in [[&old, &new], [&new, &old]] {
        let candidates: Vec<Facts> = spans.into_iter().cloned().collect();
        assert_eq!(ends(std::slice::from_ref(&taken), &candidates), std::slice::from_ref(&new));
        assert_eq!(together(&[candidates, vec![taken.clone()]].concat()), once);
    }
}

#[test]
fn a_trace_follows_a_bounded_number_of_links_and_linkers() {
    let span_of = |id: u64| SpanId::from_bytes(id.to_be_bytes()).unwrap();
    let target = |id| (sent(1, 1).trace_id, span_of(id));
    let many = |from: u64| {
        let extra = Extra { far: (from..from + 64).map(target).collect(), far_links: 64, ..Extra::default() };
        Facts { extra: Some(extra.into()), span_id: span_of(from), ..taken(&[]) }
    };
    let trace: Vec<Facts> = (0..32).rev().map(|nth| many(1 + nth * 64)).collect();
    let wants = Wants::of(&trace);
    assert_eq!(wants.targets.len(), MAX_ENDS);
    assert_eq!(wants.targets.last(), Some(&target(MAX_ENDS as u64)), "the first of them");
    let hub = in_trace(1, span("a", Producer, 5, 0));
    let linkers: Vec<Facts> = (0..2_000)
        .map(|id| Facts { span_id: span_of(id + 1), ..far(span("b", Consumer, 9, 0), &[(1, 5)]) })
        .collect();
    assert_eq!(ends(&[hub], &linkers).len(), MAX_ENDS);
    assert_eq!(ends(&[sent(1, 5)], &linkers), [], "who names its queue is told nothing");
}

/// Where each of some spans stands, and which of them it links to: (trace, span, parent, links).
type Placed = (u8, (Kind, Messaging, &'static str), usize, Vec<usize>);

fn placed() -> impl Strategy<Value = Vec<Placed>> {
    let kind = select(vec![Producer, Consumer, Client, Internal, Server]);
    let what =
        (kind, select(vec![Unstated, Create, Send, Receive, Process, Settle]), select(vec!["a", "b", "c"]));
    vec((1u8..4, what, 0usize..12, vec(0usize..12, 0..4)), 1..12)
}

proptest! {
    /// Spans that link to each other over traces add up to what they add up to as one trace. (All senders, or all that
    /// take, name the queue, or none of them: a sender is told what the other end of its link names, and no more. And what
    /// sends lies in nothing else that sends, and in nothing of another service; nor is it answered by what takes nothing.)
    #[test]
    fn linked_traces_are_as_one(spans in placed(), names in any::<(bool, bool)>()) {
        let (mut apart, mut one) = (Vec::new(), Vec::new());
        let id = |at: usize| at as u64 + 1;
        for (at, (trace, (kind, messaging, service), parent, links)) in spans.iter().enumerate() {
            let takes = |kind: Kind, messaging: Messaging| {
                matches!((kind, messaging), (Consumer, Unstated) | (_, Receive | Process | Settle))
            };
            // Of the same trace, and before it.
            let below = |above: &&Placed| {
                let taking = takes(above.1.0, above.1.1);
                takes(*kind, *messaging) && (taking || *messaging != Settle) || above.1.2 == *service && taking
            };
            let above = spans[..at].get(*parent).filter(|above| above.0 == *trace && below(above));
            let parent = above.map_or(0, |_| id(*parent));
            let takes = takes(*kind, *messaging);
            let base = if if takes { names.1 } else { names.0 } {
                message(service, *kind, id(at), parent, "q")
            } else {
                span(service, *kind, id(at), parent)
            };
            let base = does(*messaging, base);
            let mut links: Vec<usize> = links.iter().copied().filter(|to| *to < spans.len() && *to != at).collect();
            links.sort_unstable();
            links.dedup();
            let near: Vec<u64> = links.iter().filter(|to| spans[**to].0 == *trace).map(|to| id(*to)).collect();
            let mut away: Vec<(u8, u64)> =
                links.iter().filter(|to| spans[**to].0 != *trace).map(|to| (spans[*to].0, id(*to))).collect();
            away.sort_unstable();
            let near_only = linked(base.clone(), &near, 0);
            apart.push(in_trace(*trace, if away.is_empty() { near_only } else { far(near_only, &away) }));
            one.push(linked(base, &links.iter().map(|to| id(*to)).collect::<Vec<_>>(), 0));
        }
        prop_assert_eq!(cells(&together(&apart)), cells(&contribution(&one)));
        apart.reverse();
        apart.extend_from_within(..);
        prop_assert_eq!(cells(&together(&apart)), cells(&contribution(&one)), "in any order, and twice");
    }
}
