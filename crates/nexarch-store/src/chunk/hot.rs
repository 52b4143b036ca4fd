//! The hot block: facts as columns.
//!
//! What repeats over spans (operation, service, kind, peer …) is one *pattern*, named by number; what is left per
//! span are the ids, the parent (mostly a step back inside its trace), start, duration and content hash.
//! The layout favours rows in which the spans of a trace stand together by start, but takes them in any order.

use std::{collections::HashMap, sync::Arc};

use nexarch_core::{
    Text,
    facts::{Facts, Pattern, RemoteKind},
    ids::{SpanId, TraceId},
    span::Kind,
};

use super::{
    Corrupt, Seeded,
    bytes::{Reader, put_bytes, put_len, put_scaled, put_varint},
    extra,
    texts::{self, Texts},
};

/// Parent column: no parent; a parent that is written in full; from here on, steps back to the parent.
const ROOT: u64 = 0;
const ELSEWHERE: u64 = 1;

/// Bits of the last byte of a pattern; the operation of a messaging span stands above them.
const HAS_DURATION: u8 = 1;
const HAS_EXTRA: u8 = 1 << 1;
const MESSAGING: u32 = 2;

/// What many spans have in common, with texts by number:
/// name, service, namespace, environment, peer, address, protocol, target; instance; kind, remote kind, remote,
/// error, and what the bits above say; weight.
type Numbered = ([u64; 8], u64, [u8; 5], u32);

/// Columns as they grow.
#[derive(Default)]
struct Columns<'a> {
    texts: Texts<'a>,
    patterns: HashMap<Numbered, u64, Seeded>,
    /// By address, with what else makes a pattern here: mostly one pattern is one object, and no text need be looked at.
    by_address: HashMap<(usize, [u8; 5], u32), u64, Seeded>,
    pattern_rows: Vec<u8>,
    traces: Vec<u8>,
    trace_count: usize,
    run_lengths: Vec<u8>,
    pattern_ids: Vec<u8>,
    span_ids: Vec<u8>,
    parents: Vec<u8>,
    far_parents: Vec<u8>,
    starts: Vec<u8>,
    durations: Vec<u8>,
    contents: Vec<u8>,
    extras: Vec<u8>,
}

/// Encodes facts; runs of one trace share its id.
pub(super) fn encode<'a>(rows: impl Iterator<Item = &'a Facts>) -> Vec<u8> {
    let mut columns = Columns::default();
    let mut seen: HashMap<SpanId, usize, Seeded> = HashMap::default();
    let mut trace = None;
    let (mut run_start, mut start) = (0, 0);
    let (mut count, mut run) = (0, 0);
    for facts in rows {
        if trace != Some(facts.trace_id) {
            if run > 0 {
                put_len(&mut columns.run_lengths, run);
            }
            columns.traces.extend_from_slice(&facts.trace_id.to_bytes());
            columns.trace_count += 1;
            put_scaled(&mut columns.starts, facts.start_ns.wrapping_sub(run_start));
            (trace, run_start, start, run) = (Some(facts.trace_id), facts.start_ns, facts.start_ns, 0);
            seen.clear();
        }
        columns.row(facts, start, run, &mut seen);
        start = facts.start_ns;
        count += 1;
        run += 1;
    }
    if run > 0 {
        put_len(&mut columns.run_lengths, run);
    }
    columns.join(count)
}

impl<'a> Columns<'a> {
    fn row(&mut self, facts: &'a Facts, start: u64, at: usize, seen: &mut HashMap<SpanId, usize, Seeded>) {
        let pattern = self.pattern(facts);
        put_varint(&mut self.pattern_ids, pattern);
        self.span_ids.extend_from_slice(&facts.span_id.to_bytes());
        match facts.parent_span_id.map(|parent| (parent, seen.get(&parent))) {
            None => put_varint(&mut self.parents, ROOT),
            Some((_, Some(index))) => put_varint(&mut self.parents, ELSEWHERE + (at - index) as u64),
            Some((parent, None)) => {
                put_varint(&mut self.parents, ELSEWHERE);
                self.far_parents.extend_from_slice(&parent.to_bytes());
            }
        }
        seen.entry(facts.span_id).or_insert(at);
        put_scaled(&mut self.starts, facts.start_ns.wrapping_sub(start));
        if let Some(duration) = facts.duration_ns {
            put_scaled(&mut self.durations, duration);
        }
        self.contents.extend_from_slice(&facts.content.to_le_bytes());
        if let Some(extra) = &facts.extra {
            extra::put(&mut self.extras, extra, &mut self.texts);
        }
    }

    fn pattern(&mut self, facts: &'a Facts) -> u64 {
        let small = [
            facts.kind as u8,
            facts.remote_kind as u8,
            facts.remote,
            u8::from(facts.error),
            if facts.duration_ns.is_some() { HAS_DURATION } else { 0 }
                | if facts.extra.is_some() { HAS_EXTRA } else { 0 }
                | (facts.messaging as u8) << MESSAGING,
        ];
        let address = (Arc::as_ptr(&facts.pattern).addr(), small, facts.weight);
        if let Some(id) = self.by_address.get(&address) {
            return *id;
        }
        let Pattern { name, service, namespace, environment, peer, address: host, protocol, target, .. } =
            &*facts.pattern;
        let words = [name, service, namespace, environment, peer, host, protocol, target];
        let words = words.map(|text| self.texts.id(text));
        let pattern = (words, facts.instance, small, facts.weight);
        let next = self.patterns.len() as u64;
        let rows = &mut self.pattern_rows;
        let id = *self.patterns.entry(pattern).or_insert_with(|| {
            for word in words {
                put_varint(rows, word);
            }
            put_varint(rows, facts.instance);
            rows.extend_from_slice(&small);
            put_varint(rows, u64::from(facts.weight));
            next
        });
        self.by_address.insert(address, id);
        id
    }

    fn join(self, count: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(count * 48 + 1024);
        put_len(&mut out, count);
        put_len(&mut out, self.trace_count);
        self.texts.write(&mut out);
        put_len(&mut out, self.patterns.len());
        for column in [
            &self.pattern_rows,
            &self.traces,
            &self.run_lengths,
            &self.pattern_ids,
            &self.parents,
            &self.starts,
            &self.durations,
            &self.span_ids,
            &self.far_parents,
            &self.contents,
        ] {
            put_len(&mut out, column.len());
            out.extend_from_slice(column);
        }
        // Most chunks have none, and those of before there were any say the same.
        if !self.extras.is_empty() {
            put_bytes(&mut out, &self.extras);
        }
        out
    }
}

/// Decodes the facts of the wanted traces, each with its row number in the chunk.
pub(super) fn decode(raw: &[u8], wanted: &dyn Fn(&TraceId) -> bool) -> Result<Vec<(usize, Facts)>, Corrupt> {
    let mut reader = Reader::new(raw);
    let count = reader.count()?;
    let trace_count = reader.count()?;
    let texts = texts::read(&mut reader)?;
    let pattern_count = reader.count()?;
    let mut column = || reader.bytes().map(Reader::new);
    let mut pattern_rows = column()?;
    let (mut traces, mut run_lengths) = (column()?, column()?);
    let mut rows = Rows {
        pattern_ids: column()?,
        parents: column()?,
        starts: column()?,
        durations: column()?,
        span_ids: column()?,
        far_parents: column()?,
        contents: column()?,
        extras: Reader::new(&[]),
        texts: &texts,
        patterns: Vec::new(),
        start: 0,
        run_start: 0,
    };
    if reader.left() > 0 {
        rows.extras = reader.bytes().map(Reader::new)?;
    }
    reader.finish()?;
    rows.patterns =
        (0..pattern_count).map(|_| read_pattern(&mut pattern_rows, &texts)).collect::<Result<_, _>>()?;

    let mut found = Vec::new();
    let mut at = 0;
    for _ in 0..trace_count {
        let trace = TraceId::from_bytes(traces.array()?).ok_or(Corrupt("trace id"))?;
        let run = run_lengths.index(count - at + 1)?;
        let mut ids = Vec::new();
        rows.begin_run()?;
        let keep = wanted(&trace);
        for row in at..at + run {
            if let Some(facts) = rows.next(trace, &mut ids, keep)? {
                found.push((row, facts));
            }
        }
        at += run;
    }
    if at == count { Ok(found) } else { Err(Corrupt("rows without a trace")) }
}

struct Rows<'a> {
    pattern_ids: Reader<'a>,
    parents: Reader<'a>,
    starts: Reader<'a>,
    durations: Reader<'a>,
    span_ids: Reader<'a>,
    far_parents: Reader<'a>,
    contents: Reader<'a>,
    extras: Reader<'a>,
    texts: &'a [Text],
    patterns: Vec<Facts>,
    start: u64,
    run_start: u64,
}

impl Rows<'_> {
    /// A run starts at a distance from the run before, its spans at distances from each other.
    fn begin_run(&mut self) -> Result<(), Corrupt> {
        self.run_start = self.run_start.wrapping_add(self.starts.scaled()?);
        self.start = self.run_start;
        Ok(())
    }

    /// The next row; `ids` are the span ids of this run so far.
    fn next(&mut self, trace: TraceId, ids: &mut Vec<SpanId>, keep: bool) -> Result<Option<Facts>, Corrupt> {
        let index = self.pattern_ids.index(self.patterns.len())?;
        let pattern = self.patterns.get(index).ok_or(Corrupt("pattern"))?;
        let parent_span_id = match self.parents.varint()? {
            ROOT => None,
            ELSEWHERE => Some(span_id(&mut self.far_parents)?),
            steps => {
                let steps = usize::try_from(steps - ELSEWHERE).map_err(|_| Corrupt("parent"))?;
                let index = ids.len().checked_sub(steps).ok_or(Corrupt("parent"))?;
                Some(*ids.get(index).ok_or(Corrupt("parent"))?)
            }
        };
        let span_id = span_id(&mut self.span_ids)?;
        ids.push(span_id);
        self.start = self.start.wrapping_add(self.starts.scaled()?);
        let duration_ns = pattern.duration_ns.map(|_| self.durations.scaled()).transpose()?;
        let content = u64::from_le_bytes(self.contents.array()?);
        let extra = match pattern.extra {
            Some(_) => Some(Arc::new(extra::read(&mut self.extras, self.texts)?)),
            None => None,
        };
        Ok(keep.then(|| Facts {
            trace_id: trace,
            span_id,
            parent_span_id,
            start_ns: self.start,
            duration_ns,
            content,
            extra,
            ..pattern.clone()
        }))
    }
}

fn span_id(reader: &mut Reader<'_>) -> Result<SpanId, Corrupt> {
    SpanId::from_bytes(reader.array()?).ok_or(Corrupt("span id"))
}

/// A pattern as facts whose per-span fields mean nothing yet.
fn read_pattern(reader: &mut Reader<'_>, texts: &[Text]) -> Result<Facts, Corrupt> {
    let mut text = || texts::get(reader, texts);
    let (name, service, namespace, environment) = (text()?, text()?, text()?, text()?);
    let (peer, address, protocol, target) = (text()?, text()?, text()?, text()?);
    let instance = reader.varint()?;
    let [kind, remote_kind, remote, error, bits] = reader.array()?;
    let ones = [1; 16];
    Ok(Facts {
        trace_id: TraceId::from_bytes(ones).ok_or(Corrupt("trace id"))?,
        span_id: SpanId::from_bytes([1; 8]).ok_or(Corrupt("span id"))?,
        parent_span_id: None,
        remote,
        kind: read_kind(kind)?,
        error: error != 0,
        start_ns: 0,
        duration_ns: (bits & HAS_DURATION != 0).then_some(0),
        weight: reader.varint32()?,
        pattern: Arc::new(Pattern {
            name,
            service,
            namespace,
            environment,
            instance,
            peer,
            address,
            protocol,
            remote_kind: read_remote_kind(remote_kind)?,
            target,
            messaging: extra::read_messaging(bits >> MESSAGING)?,
        }),
        extra: (bits & HAS_EXTRA != 0).then(Arc::default),
        content: 0,
    })
}

/// A kind from its number; unlike OTLP, where an unknown one is INTERNAL, here it is corruption.
pub(super) fn read_kind(number: u8) -> Result<Kind, Corrupt> {
    let kind = Kind::from_otlp(i32::from(number));
    if kind as u8 == number { Ok(kind) } else { Err(Corrupt("kind")) }
}

fn read_remote_kind(number: u8) -> Result<RemoteKind, Corrupt> {
    [RemoteKind::Service, RemoteKind::Database, RemoteKind::Cache, RemoteKind::Queue, RemoteKind::Model]
        .into_iter()
        .find(|kind| *kind as u8 == number)
        .ok_or(Corrupt("remote kind"))
}
