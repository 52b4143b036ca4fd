//! The cold block: what a span holds beyond its facts.
//!
//! Row by row it stands beside the hot block and repeats nothing of it; where a span differs from what its facts
//! say (a name cut to size, a self-parent taken as root) a bit tells, and the span's own value follows.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use nexarch_core::{
    facts::Facts,
    ids::{SpanId, TraceId},
    span::{Event, Link, Resource, Scope, Span, Status},
};

use super::{
    Corrupt, Seeded,
    bytes::{Reader, put_bytes, put_len, put_scaled, put_varint, unzigzag, zigzag},
    columns::{Column, ColumnReader, Columns, ColumnsReader, Place},
    hot::read_kind,
    value,
};

/// Bits that say where a span differs from its facts.
const OTHER_PARENT: u8 = 1;
const OTHER_KIND: u8 = 2;
const OTHER_NAME: u8 = 4;
const OTHER_START: u8 = 8;
const OTHER_END: u8 = 16;

/// Columns of numbers, by what they hold. The order is the order in the block.
const FLAGS: usize = 0;
const STATUS: usize = 1;
const RESOURCE: usize = 2;
const SCOPE: usize = 3;
const DIFFERENCE: usize = 4;
const SHAPE: usize = 5;
const EVENTS: usize = 6;
const EVENT_TIME: usize = 7;
const EVENT_SHAPE: usize = 8;
const LINKS: usize = 9;
const LINK: usize = 10;
const LINK_SHAPE: usize = 11;
const NUMBERS: usize = 12;

/// Columns of texts.
const NAME: usize = 0;
const TRACE_STATE: usize = 1;
const MESSAGE: usize = 2;
const EVENT_NAME: usize = 3;
const LINK_STATE: usize = 4;
const TEXTS: usize = 5;

/// Things that many spans share, each written once.
#[derive(Default)]
struct Shared {
    by_address: HashMap<usize, u64, Seeded>,
    by_bytes: HashMap<Vec<u8>, u64, Seeded>,
    rows: Vec<u8>,
}

impl Shared {
    /// The number of a thing; its bytes are made only when its address is new.
    fn id<T>(
        &mut self,
        thing: &Arc<T>,
        write: impl FnOnce(&T, &mut Vec<u8>) -> Result<(), Corrupt>,
    ) -> Result<u64, Corrupt> {
        let address = Arc::as_ptr(thing).addr();
        if let Some(id) = self.by_address.get(&address) {
            return Ok(*id);
        }
        let mut bytes = Vec::new();
        write(thing, &mut bytes)?;
        let next = self.by_bytes.len() as u64;
        let rows = &mut self.rows;
        let id = *self.by_bytes.entry(bytes).or_insert_with_key(|bytes| {
            rows.extend_from_slice(bytes);
            next
        });
        self.by_address.insert(address, id);
        Ok(id)
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_len(out, self.by_bytes.len());
        out.extend_from_slice(&self.rows);
    }
}

/// Columns as they grow.
#[derive(Default)]
struct Cold<'a> {
    numbers: [Vec<u8>; NUMBERS],
    texts: [Column<'a>; TEXTS],
    columns: Columns<'a>,
    resources: Shared,
    scopes: Shared,
}

/// Encodes all rows.
pub(super) fn encode(rows: &[(&Span, &Facts)]) -> Result<Vec<u8>, Corrupt> {
    let mut cold = Cold::default();
    for (span, facts) in rows {
        cold.row(span, facts)?;
    }
    let mut out = Vec::new();
    put_len(&mut out, rows.len());
    cold.resources.write(&mut out);
    cold.scopes.write(&mut out);
    cold.columns.write(&mut out);
    cold.numbers.iter().for_each(|column| put_bytes(&mut out, column));
    cold.texts.iter().for_each(|column| column.write(&mut out));
    Ok(out)
}

impl<'a> Cold<'a> {
    fn row(&mut self, span: &'a Span, facts: &Facts) -> Result<(), Corrupt> {
        let resource = self
            .resources
            .id(&span.resource, |resource, out| value::put_attributes(out, &resource.attributes, 0))?;
        let scope = self.scopes.id(&span.scope, write_scope)?;
        let shape = self.columns.push(Place::Span, &span.attributes)?;
        self.number(FLAGS, u64::from(span.flags));
        self.number(STATUS, span.status as u64);
        self.number(RESOURCE, resource);
        self.number(SCOPE, scope);
        self.number(SHAPE, shape);
        self.number(EVENTS, span.events.len() as u64);
        self.number(LINKS, span.links.len() as u64);
        self.texts[TRACE_STATE].text(&span.trace_state);
        self.texts[MESSAGE].text(&span.status_message);
        self.differences(span, facts);
        span.events.iter().try_for_each(|event| self.event(event, span.start_ns))?;
        span.links.iter().try_for_each(|link| self.link(link))
    }

    fn number(&mut self, column: usize, value: u64) {
        put_varint(&mut self.numbers[column], value);
    }

    fn differences(&mut self, span: &'a Span, facts: &Facts) {
        debug_assert_eq!((span.trace_id, span.span_id), (facts.trace_id, facts.span_id));
        let bits = [
            (OTHER_PARENT, span.parent_span_id != facts.parent_span_id),
            (OTHER_KIND, span.kind != facts.kind),
            (OTHER_NAME, span.name != facts.name),
            (OTHER_START, span.start_ns != facts.start_ns),
            (OTHER_END, span.end_ns != stated_end(facts)),
        ];
        let bits = bits.iter().filter(|(_, differs)| *differs).fold(0, |all, (bit, _)| all | bit);
        let column = &mut self.numbers[DIFFERENCE];
        column.push(bits);
        if bits & OTHER_PARENT != 0 {
            column.extend_from_slice(&span.parent_span_id.map_or([0; 8], SpanId::to_bytes));
        }
        if bits & OTHER_KIND != 0 {
            column.push(span.kind as u8);
        }
        if bits & OTHER_START != 0 {
            put_varint(column, span.start_ns);
        }
        if bits & OTHER_END != 0 {
            column.push(u8::from(span.end_ns.is_some()));
            put_varint(column, span.end_ns.unwrap_or(0));
        }
        if bits & OTHER_NAME != 0 {
            self.texts[NAME].text(&span.name);
        }
    }

    fn event(&mut self, event: &'a Event, start_ns: u64) -> Result<(), Corrupt> {
        let offset = zigzag(event.time_ns.wrapping_sub(start_ns).cast_signed());
        put_scaled(&mut self.numbers[EVENT_TIME], offset);
        self.texts[EVENT_NAME].text(&event.name);
        let shape = self.columns.push(Place::Event, &event.attributes)?;
        self.number(EVENT_SHAPE, shape);
        Ok(())
    }

    fn link(&mut self, link: &'a Link) -> Result<(), Corrupt> {
        let column = &mut self.numbers[LINK];
        column.extend_from_slice(&link.trace_id.to_bytes());
        column.extend_from_slice(&link.span_id.to_bytes());
        put_varint(column, u64::from(link.flags));
        self.texts[LINK_STATE].text(&link.trace_state);
        let shape = self.columns.push(Place::Link, &link.attributes)?;
        self.number(LINK_SHAPE, shape);
        Ok(())
    }
}

fn write_scope(scope: &Scope, out: &mut Vec<u8>) -> Result<(), Corrupt> {
    put_bytes(out, scope.name.as_bytes());
    put_bytes(out, scope.version.as_bytes());
    value::put_attributes(out, &scope.attributes, 0)
}

fn stated_end(facts: &Facts) -> Option<u64> {
    facts.duration_ns.map(|duration| facts.start_ns.saturating_add(duration))
}

/// Joins the cold rows with the facts of the wanted ones, given by row number in order.
pub(super) fn decode(raw: Vec<u8>, wanted: Vec<(usize, Facts)>) -> Result<Vec<(Span, Facts)>, Corrupt> {
    let block = Bytes::from(raw);
    let mut reader = Reader::new(&block);
    let rows = reader.count()?;
    let resources =
        shared(&mut reader, |reader| Ok(Resource { attributes: value::read_attributes(reader, 0)? }))?;
    let scopes = shared(&mut reader, |reader| {
        Ok(Scope {
            name: value::read_text(reader)?,
            version: value::read_text(reader)?,
            attributes: value::read_attributes(reader, 0)?,
        })
    })?;
    let columns = ColumnsReader::read(&mut reader)?;
    let mut numbers = [Reader::new(&[]); NUMBERS];
    for column in &mut numbers {
        *column = Reader::new(reader.bytes()?);
    }
    let texts = (0..TEXTS).map(|_| ColumnReader::read(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    let texts = <[_; TEXTS]>::try_from(texts).map_err(|_| Corrupt("columns"))?;
    reader.finish()?;

    let mut decoder = Decoder { block: &block, resources, scopes, columns, numbers, texts };
    let mut spans = Vec::with_capacity(wanted.len());
    let mut wanted = wanted.into_iter().peekable();
    for row in 0..rows {
        if wanted.peek().is_none() {
            break;
        }
        let facts = wanted.next_if(|(index, _)| *index == row).map(|(_, facts)| facts);
        if let Some(span) = decoder.row(facts.as_ref())?
            && let Some(facts) = facts
        {
            spans.push((span, facts));
        }
    }
    if wanted.next().is_none() { Ok(spans) } else { Err(Corrupt("blocks differ in length")) }
}

fn shared<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Corrupt>,
) -> Result<Vec<Arc<T>>, Corrupt> {
    let count = reader.count()?;
    (0..count).map(|_| read(reader).map(Arc::new)).collect()
}

struct Decoder<'a> {
    block: &'a Bytes,
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
    columns: ColumnsReader<'a>,
    numbers: [Reader<'a>; NUMBERS],
    texts: [ColumnReader<'a>; TEXTS],
}

impl Decoder<'_> {
    /// The next row: a span when it has facts, else only read past.
    fn row(&mut self, facts: Option<&Facts>) -> Result<Option<Span>, Corrupt> {
        let keep = facts.is_some();
        let flags = self.numbers[FLAGS].varint32()?;
        let status = self.status()?;
        let resource = self.numbers[RESOURCE].index(self.resources.len())?;
        let scope = self.numbers[SCOPE].index(self.scopes.len())?;
        let attributes = self.columns.next(Place::Span, &mut self.numbers[SHAPE], self.block, keep)?;
        let trace_state = self.texts[TRACE_STATE].text(self.block, keep)?;
        let status_message = self.texts[MESSAGE].text(self.block, keep)?;
        let own = self.differences(keep)?;
        let start_ns = own.start_ns.or(facts.map(|facts| facts.start_ns)).unwrap_or(0);
        let (events, links) = (self.events(start_ns, keep)?, self.links(keep)?);
        let Some(facts) = facts else { return Ok(None) };
        Ok(Some(Span {
            trace_id: facts.trace_id,
            span_id: facts.span_id,
            parent_span_id: own.parent.or(facts.parent_span_id),
            flags,
            trace_state: trace_state.unwrap_or_default(),
            name: own.name.unwrap_or_else(|| facts.name.clone()),
            kind: own.kind.unwrap_or(facts.kind),
            start_ns,
            end_ns: own.end.or(stated_end(facts)),
            status,
            status_message: status_message.unwrap_or_default(),
            attributes,
            events,
            links,
            resource: self.resources.get(resource).cloned().ok_or(Corrupt("resource"))?,
            scope: self.scopes.get(scope).cloned().ok_or(Corrupt("scope"))?,
        }))
    }

    fn status(&mut self) -> Result<Status, Corrupt> {
        match self.numbers[STATUS].byte()? {
            0 => Ok(Status::Unset),
            1 => Ok(Status::Ok),
            2 => Ok(Status::Error),
            _ => Err(Corrupt("status")),
        }
    }

    fn differences(&mut self, keep: bool) -> Result<Own, Corrupt> {
        let column = &mut self.numbers[DIFFERENCE];
        let bits = column.byte()?;
        let mut own = Own::default();
        if bits & OTHER_PARENT != 0 {
            own.parent = Stated::Own(SpanId::from_bytes(column.array()?));
        }
        if bits & OTHER_KIND != 0 {
            own.kind = Some(read_kind(column.byte()?)?);
        }
        if bits & OTHER_START != 0 {
            own.start_ns = Some(column.varint()?);
        }
        if bits & OTHER_END != 0 {
            let stated = column.byte()? != 0;
            let end = column.varint()?;
            own.end = Stated::Own(stated.then_some(end));
        }
        if bits & OTHER_NAME != 0 {
            own.name = self.texts[NAME].text(self.block, keep)?;
        }
        Ok(own)
    }

    fn events(&mut self, start_ns: u64, keep: bool) -> Result<Vec<Event>, Corrupt> {
        let mut events = Vec::new();
        for _ in 0..self.numbers[EVENTS].varint()? {
            let offset = unzigzag(self.numbers[EVENT_TIME].scaled()?);
            let name = self.texts[EVENT_NAME].text(self.block, keep)?;
            let attributes =
                self.columns.next(Place::Event, &mut self.numbers[EVENT_SHAPE], self.block, keep)?;
            if let Some(name) = name {
                events.push(Event { time_ns: start_ns.wrapping_add_signed(offset), name, attributes });
            }
        }
        Ok(events)
    }

    fn links(&mut self, keep: bool) -> Result<Vec<Link>, Corrupt> {
        let mut links = Vec::new();
        for _ in 0..self.numbers[LINKS].varint()? {
            let column = &mut self.numbers[LINK];
            let trace_id = TraceId::from_bytes(column.array()?).ok_or(Corrupt("trace id"))?;
            let span_id = SpanId::from_bytes(column.array()?).ok_or(Corrupt("span id"))?;
            let flags = column.varint32()?;
            let trace_state = self.texts[LINK_STATE].text(self.block, keep)?;
            let attributes =
                self.columns.next(Place::Link, &mut self.numbers[LINK_SHAPE], self.block, keep)?;
            if let Some(trace_state) = trace_state {
                links.push(Link { trace_id, span_id, trace_state, flags, attributes });
            }
        }
        Ok(links)
    }
}

/// Where a span differs from its facts.
#[derive(Default)]
struct Own {
    parent: Stated<SpanId>,
    kind: Option<nexarch_core::span::Kind>,
    name: Option<nexarch_core::Text>,
    start_ns: Option<u64>,
    end: Stated<u64>,
}

/// Something that may be absent, as the facts have it or as the span has it.
#[derive(Default)]
enum Stated<T> {
    #[default]
    AsFacts,
    Own(Option<T>),
}

impl<T> Stated<T> {
    fn or(self, facts: Option<T>) -> Option<T> {
        match self {
            Self::AsFacts => facts,
            Self::Own(own) => own,
        }
    }
}
