//! "Why is my map empty?": what the spans of a window lack (rule R12).

use serde::Serialize;

use crate::rollup::{Key, Note, OTHER, Rollup};

/// Counts of spans of a window, each by its cause alone. They are part of what traces contribute, so they are functions
/// of the set of stored spans, and go down again when a missing span arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Missing {
    /// Stored spans.
    pub spans: u64,
    /// Entry spans whose parent did not arrive.
    pub orphans: u64,
    /// Entry spans whose parent did not arrive, though the sender says it is of the same process.
    pub lost_local_parents: u64,
    /// Client and producer spans that no other service answered; they name a target.
    pub unpaired_outs: u64,
    /// Client and producer spans that no other service answered and that name no target: they draw no edge.
    pub untargeted_outs: u64,
    /// Server and consumer spans with a parent, but without a client span that led to them; orphans among them.
    pub unpaired_ins: u64,
    /// Spans without a service name, or with the `unknown_service` of an SDK.
    pub no_service_name: u64,
    /// Spans without a kind.
    pub no_kind: u64,
    /// Spans that do not say how many they stand for (`tracestate` without `ot=th`): rates are a lower bound if they
    /// were sampled.
    pub sampling_unknown: u64,
    /// Server spans that start more than a millisecond before the client span that caused them: clocks differ.
    pub skewed: u64,
    /// Links of messaging spans into other traces that lead to no stored span: it did not arrive, or not yet.
    pub unresolved_links: u64,
    /// Spans of services that share "(other)" because there are too many.
    pub folded_spans: u64,
    /// Requests of operations that share "(other)".
    pub folded_requests: u64,
    /// Calls whose target or protocol shares "(other)".
    pub folded_calls: u64,
}

impl Missing {
    /// The counts of a window, of all environments.
    pub fn of(rollup: &Rollup) -> Self {
        let mut this = Self::default();
        let mut sampled = 0;
        let is_other = |node: u32| rollup.table.describe(node).1[2] == OTHER;
        for (key, cell) in rollup.cells() {
            let count = u64::try_from(cell.count).unwrap_or(0);
            let add = |sum: &mut u64| *sum = sum.saturating_add(count);
            match key {
                Key::Spans(service) => {
                    add(&mut this.spans);
                    if is_other(service) {
                        add(&mut this.folded_spans);
                    }
                }
                Key::Operation(_, name) if rollup.table.text_of(name) == OTHER => {
                    add(&mut this.folded_requests);
                }
                Key::Call(_, _, to, protocol) if is_other(to) || rollup.table.text_of(protocol) == OTHER => {
                    add(&mut this.folded_calls);
                }
                Key::Note(note, _) => add(match note {
                    Note::Orphan => &mut this.orphans,
                    Note::LostLocal => &mut this.lost_local_parents,
                    Note::Unanswered => &mut this.unpaired_outs,
                    Note::Untargeted => &mut this.untargeted_outs,
                    Note::Unreached => &mut this.unpaired_ins,
                    Note::Nameless => &mut this.no_service_name,
                    Note::Kindless => &mut this.no_kind,
                    Note::Sampled => &mut sampled,
                    Note::Skewed => &mut this.skewed,
                    Note::Unlinked => &mut this.unresolved_links,
                }),
                _ => {}
            }
        }
        this.sampling_unknown = this.spans.saturating_sub(sampled);
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{Facts, SAMPLING_KNOWN},
        infer::{contribution, testing::*},
        rollup::Delta,
        span::Kind,
    };

    fn missing(traces: &[&[Facts]]) -> Missing {
        let mut delta = Delta::default();
        for trace in traces {
            delta.add(&contribution(trace));
        }
        let blobs = delta.encode();
        Missing::of(&Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &**blob))).unwrap())
    }

    /// A call that lacks nothing.
    fn whole() -> Vec<Facts> {
        let spans = [server("shop", 1, 0), client("shop", 2, 1), server("pay", 3, 2)];
        spans.map(|span| Facts { remote: SAMPLING_KNOWN, ..span }).into()
    }

    #[test]
    fn a_link_is_unresolved_as_long_as_its_target_is_not_stored() {
        let link = |id| far(message("b", Kind::Consumer, 9, 0, "q"), &[(5, id), (5, 2)]);
        let sent = |id| in_trace(5, message("a", Kind::Producer, id, 0, "q"));
        let unresolved = |spans: &[Facts]| {
            let blobs = together(spans).encode();
            let rollup = Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &**blob))).unwrap();
            Missing::of(&rollup).unresolved_links
        };
        assert_eq!(unresolved(&[link(1)]), 2);
        assert_eq!(unresolved(&[link(1), sent(1)]), 1);
        assert_eq!(unresolved(&[link(1), sent(1), sent(2)]), 0);
        assert_eq!(unresolved(&[link(3), in_trace(5, server("a", 3, 0)), sent(2)]), 0, "it leads somewhere");
    }

    #[test]
    fn each_count_moves_with_its_cause_and_only_with_it() {
        let good = missing(&[&whole()]);
        assert_eq!(good, Missing { spans: 3, ..Missing::default() });
        let with = |id: u64, change: &dyn Fn(Facts) -> Facts| -> Vec<Facts> {
            let wanted = server("", id, 0).span_id;
            whole().into_iter().map(|span| if span.span_id == wanted { change(span) } else { span }).collect()
        };
        let named = with(2, &|span| span.with(|it| it.address = "pay.example".into()));
        let cases: [(&str, Vec<Facts>, Missing); 7] = [
            (
                "the client half is missing",
                [&whole()[..1], &whole()[2..]].concat(),
                Missing { spans: 2, orphans: 1, unpaired_ins: 1, ..good },
            ),
            (
                "the server half is missing",
                named[..2].to_vec(),
                Missing { spans: 2, unpaired_outs: 1, ..good },
            ),
            (
                "and no target is named",
                whole()[..2].to_vec(),
                Missing { spans: 2, untargeted_outs: 1, ..good },
            ),
            (
                "the caller is no client",
                with(2, &|span| Facts { kind: Kind::Internal, ..span }),
                Missing { unpaired_ins: 1, ..good },
            ),
            (
                "nobody named the service",
                with(3, &|span| span.with(|it| it.service = "unknown_service:java".into())),
                Missing { no_service_name: 1, ..good },
            ),
            (
                "no threshold",
                with(1, &|span| Facts { remote: 0, ..span }),
                Missing { sampling_unknown: 1, ..good },
            ),
            (
                "the clock of the server is behind",
                with(3, &|span| Facts { start_ns: span.start_ns - 4_000_000, ..span }),
                Missing { skewed: 1, ..good },
            ),
        ];
        for (what, trace, expected) in cases {
            assert_eq!(missing(&[&trace]), expected, "{what}");
        }
    }
}
