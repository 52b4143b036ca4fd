//! Rows into chunks.

use nexarch_core::{facts::Facts, ids::TraceId, rollup::Delta, span::Span};

use super::{Arrived, DAY_HOURS, HOUR_NS, Incoming, Row, worth::preview};
use crate::chunk::{self, Corrupt, MAX_SPANS, Scale};

/// Most bytes that resources and scopes may take in all chunks of an append in the usual order, where a trace stands
/// together. Beyond it, spans stand by their sender, so that few chunks hold a heavy one.
const MAX_COPIES: usize = 128 << 20;

/// A chunk to be stored.
pub(crate) struct Chunk {
    /// Hours since the Unix epoch; all spans of the chunk start in it.
    pub(crate) hour: u64,
    /// How many spans it holds.
    pub(crate) spans: usize,
    /// See [`chunk`].
    pub(crate) hot: Vec<u8>,
    /// See [`chunk`].
    pub(crate) cold: Vec<u8>,
    /// The traces in it, with how many spans of each were not stored before.
    pub(crate) traces: Vec<(TraceId, u64)>,
    /// Those of them that contribute by a preview: how many spans in all, and how many that were not stored before.
    pub(crate) previews: Vec<(TraceId, u64, u64)>,
}

impl Chunk {
    /// Days since the Unix epoch.
    pub(crate) fn day(&self) -> u64 {
        self.hour / DAY_HOURS
    }
}

/// A row with what it stores.
type Filled<'a> = (&'a Row, &'a Arrived, &'a Span);

/// Sorts rows of these spans by hour, trace and start, and cuts them into chunks. Traces stand by their first start.
/// Previews are added to `delta`.
pub(crate) fn pack<'a>(
    rows: &'a [Row],
    incoming: &'a Incoming,
    delta: &mut Delta,
) -> Result<Vec<Chunk>, Corrupt> {
    let traces = rows.iter().map(|row| row.trace + 1).max().unwrap_or(0);
    let mut first = vec![u64::MAX; traces];
    let filled = || {
        let filled = |row: &'a Row| {
            let arrived = incoming.spans.get(row.arrived)?;
            Some((row, arrived, incoming.span(arrived)?))
        };
        rows.iter().filter_map(filled)
    };
    for (row, Arrived { facts, .. }, _) in filled() {
        first[row.trace] = first[row.trace].min(facts.start_ns);
    }
    let mut order: Vec<_> = filled()
        .map(|(row, arrived, span)| {
            let Facts { start_ns, span_id, .. } = arrived.facts;
            (start_ns / HOUR_NS, first[row.trace], row.trace, start_ns, span_id, (row, arrived, span))
        })
        .collect();
    order.sort_unstable_by_key(|(hour, first, trace, start, id, _)| (*hour, *first, *trace, *start, *id));

    let (mut cuts, copies) = cut(order.iter().map(|(hour, .., row)| (*hour, *row)));
    let by_sender = copies > MAX_COPIES;
    if by_sender {
        order.sort_by_key(|(hour, .., (_, _, span))| (*hour, chunk::addresses(span)));
        (cuts, _) = cut(order.iter().map(|(hour, .., row)| (*hour, *row)));
    }
    let (mut chunks, mut from) = (Vec::with_capacity(cuts.len()), 0);
    for until in cuts {
        let part = order.get_mut(from..until).unwrap_or_default();
        if by_sender {
            // In a chunk, a trace stands together all the same.
            part.sort_unstable_by_key(|(_, first, trace, start, id, _)| (*first, *trace, *start, *id));
        }
        if let Some((hour, ..)) = part.first() {
            let rows: Vec<Filled<'_>> = part.iter().map(|(.., row)| *row).collect();
            chunks.push(close(*hour, &rows, delta)?);
        }
        from = until;
    }
    Ok(chunks)
}

/// Where chunks of rows in this order end, and what resources and scopes weigh in all of them.
fn cut<'a>(rows: impl Iterator<Item = (u64, Filled<'a>)>) -> (Vec<usize>, usize) {
    let (mut cuts, mut copies, mut from, mut end) = (Vec::new(), 0, 0, 0);
    let (mut open_hour, mut scale) = (0, Scale::default());
    for (at, (hour, (_, Arrived { weight, .. }, span))) in rows.enumerate() {
        if at > from && (hour != open_hour || at - from == MAX_SPANS || scale.is_full_for(span)) {
            copies += std::mem::take(&mut scale).shared();
            cuts.push(at);
            from = at;
        }
        open_hour = hour;
        scale.add(span, *weight);
        end = at + 1;
    }
    cuts.push(end);
    (cuts, copies + scale.shared())
}

/// Makes a chunk of rows of one hour.
fn close(hour: u64, open: &[Filled<'_>], delta: &mut Delta) -> Result<Chunk, Corrupt> {
    let pairs: Vec<(&Span, &Facts)> = open.iter().map(|(_, it, span)| (*span, &it.facts)).collect();
    let chunk::Encoded { hot, cold } = chunk::encode(&pairs)?;
    let mut traces: Vec<(TraceId, u64)> = Vec::new();
    let mut previews = Vec::new();
    for rows in open.chunk_by(|(a, ..), (b, ..)| a.trace == b.trace) {
        let Some((row, Arrived { facts: Facts { trace_id, .. }, .. }, _)) = rows.first() else { continue };
        let fresh = || rows.iter().filter(|(row, ..)| row.fresh);
        let count = fresh().count() as u64;
        traces.push((*trace_id, count));
        if row.preview {
            previews.push((*trace_id, rows.len() as u64, count));
            let fresh: Vec<Facts> = fresh().map(|(_, it, _)| it.facts.clone()).collect();
            delta.add(&preview(&fresh));
        }
    }
    Ok(Chunk { hour, spans: open.len(), hot, cold, traces, previews })
}
