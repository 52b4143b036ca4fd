//! `Resource`, `InstrumentationScope`, `Span` and its parts from OTLP/JSON.

use serde::de::{self, MapAccess};

use super::{
    Context,
    object::{List, Obj, Object, Skip, Str, named, plain, read},
    scalar::{EnumNumber, TextSeed, Uint64},
    value::read_attributes,
};
use crate::{
    Text,
    ids::{SpanId, TraceId},
    otlp::accept::{Draft, Parent},
    span::{Attributes, Event, Link, Resource, Scope},
};

#[derive(Clone, Copy)]
pub(super) struct ResourceObject<'c, 'b, 'r>(pub(super) &'c Context<'b, 'r>);

impl<'de> Object<'de> for ResourceObject<'_, '_, '_> {
    type State = Resource;
    type Out = Resource;

    fn field<A: MapAccess<'de>>(
        self,
        resource: &mut Resource,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match name {
            "attributes" => resource.attributes = named(name, read_attributes(self.0, 1, map))?,
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, resource: Resource) -> Result<Resource, E> {
        Ok(resource)
    }
}

#[derive(Clone, Copy)]
pub(super) struct ScopeObject<'c, 'b, 'r>(pub(super) &'c Context<'b, 'r>);

impl<'de> Object<'de> for ScopeObject<'_, '_, '_> {
    type State = Scope;
    type Out = Scope;

    fn field<A: MapAccess<'de>>(self, scope: &mut Scope, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "name" => scope.name = text(self.0, name, map)?,
            "version" => scope.version = text(self.0, name, map)?,
            "attributes" => scope.attributes = named(name, read_attributes(self.0, 1, map))?,
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, scope: Scope) -> Result<Scope, E> {
        Ok(scope)
    }
}

#[derive(Clone, Copy)]
pub(super) struct SpanObject<'c, 'b, 'r>(pub(super) &'c Context<'b, 'r>);

impl<'de> Object<'de> for SpanObject<'_, '_, '_> {
    type State = Draft;
    type Out = Draft;

    fn field<A: MapAccess<'de>>(self, span: &mut Draft, name: &str, map: &mut A) -> Result<(), A::Error> {
        let context = self.0;
        match name {
            "traceId" => span.trace_id = hex(name, map)?.and_then(|Str(hex)| TraceId::from_hex(&hex)),
            "spanId" => span.span_id = hex(name, map)?.and_then(|Str(hex)| SpanId::from_hex(&hex)),
            "parentSpanId" => span.parent = hex(name, map)?.map_or(Parent::Root, |Str(hex)| parent(&hex)),
            "traceState" => span.trace_state = text(context, name, map)?,
            "flags" => span.flags = number32(name, map)?,
            "name" => span.name = text(context, name, map)?,
            "kind" => span.kind = enum_number(name, map)?,
            "startTimeUnixNano" => span.start_ns = number(name, map)?,
            "endTimeUnixNano" => span.end_ns = number(name, map)?,
            "attributes" => span.attributes = named(name, read_attributes(context, 1, map))?,
            "events" => {
                span.events = named(name, read(map, List(Obj(EventObject(context)))))?.unwrap_or_default();
            }
            "links" => {
                let links = named(name, read(map, List(Obj(LinkObject(context)))))?.unwrap_or_default();
                let sent = links.len();
                span.links = links.into_iter().flatten().collect();
                context.flag(|flags| flags.invalid_link += (sent - span.links.len()) as u64);
            }
            "status" => {
                (span.status, span.status_message) =
                    named(name, read(map, Obj(StatusObject(context))))?.unwrap_or_default();
            }
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, span: Draft) -> Result<Draft, E> {
        Ok(span)
    }
}

/// An all-zero parent means a root, as in protobuf.
fn parent(hex: &str) -> Parent {
    match SpanId::from_hex(hex) {
        Some(id) => Parent::Id(id),
        None if hex.is_empty() || hex == "0000000000000000" => Parent::Root,
        None => Parent::Invalid,
    }
}

#[derive(Clone, Copy)]
struct StatusObject<'c, 'b, 'r>(&'c Context<'b, 'r>);

impl<'de> Object<'de> for StatusObject<'_, '_, '_> {
    type State = (i32, Text);
    type Out = (i32, Text);

    fn field<A: MapAccess<'de>>(
        self,
        state: &mut Self::State,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match name {
            "code" => state.0 = enum_number(name, map)?,
            "message" => state.1 = text(self.0, name, map)?,
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, status: Self::State) -> Result<Self::Out, E> {
        Ok(status)
    }
}

#[derive(Clone, Copy)]
struct EventObject<'c, 'b, 'r>(&'c Context<'b, 'r>);

impl<'de> Object<'de> for EventObject<'_, '_, '_> {
    type State = (u64, Text, Attributes);
    type Out = Event;

    fn field<A: MapAccess<'de>>(
        self,
        state: &mut Self::State,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match name {
            "timeUnixNano" => state.0 = number(name, map)?,
            "name" => state.1 = text(self.0, name, map)?,
            "attributes" => state.2 = named(name, read_attributes(self.0, 1, map))?,
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, (time_ns, name, attributes): Self::State) -> Result<Event, E> {
        Ok(Event { time_ns, name, attributes })
    }
}

#[derive(Default)]
struct LinkState {
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    trace_state: Text,
    flags: u32,
    attributes: Attributes,
}

/// `None` when the ids are invalid.
#[derive(Clone, Copy)]
struct LinkObject<'c, 'b, 'r>(&'c Context<'b, 'r>);

impl<'de> Object<'de> for LinkObject<'_, '_, '_> {
    type State = LinkState;
    type Out = Option<Link>;

    fn field<A: MapAccess<'de>>(self, link: &mut LinkState, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "traceId" => link.trace_id = hex(name, map)?.and_then(|Str(hex)| TraceId::from_hex(&hex)),
            "spanId" => link.span_id = hex(name, map)?.and_then(|Str(hex)| SpanId::from_hex(&hex)),
            "traceState" => link.trace_state = text(self.0, name, map)?,
            "flags" => link.flags = number32(name, map)?,
            "attributes" => link.attributes = named(name, read_attributes(self.0, 1, map))?,
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, link: LinkState) -> Result<Option<Link>, E> {
        let LinkState { trace_id, span_id, trace_state, flags, attributes } = link;
        Ok(trace_id.zip(span_id).map(|(trace_id, span_id)| Link {
            trace_id,
            span_id,
            trace_state,
            flags,
            attributes,
        }))
    }
}

fn text<'de, A: MapAccess<'de>>(
    context: &Context<'_, '_>,
    name: &str,
    map: &mut A,
) -> Result<Text, A::Error> {
    Ok(named(name, read(map, TextSeed(context)))?.unwrap_or_default())
}

fn hex<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<Option<Str<'de>>, A::Error> {
    named(name, plain(map))
}

fn number<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<u64, A::Error> {
    Ok(named(name, plain(map))?.map_or(0, |Uint64(number)| number))
}

fn number32<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<u32, A::Error> {
    let wide = number(name, map)?;
    u32::try_from(wide).map_err(|_| de::Error::custom(format_args!("{name}: {wide} exceeds 32 bits")))
}

fn enum_number<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<i32, A::Error> {
    Ok(named(name, plain(map))?.map_or(0, |EnumNumber(number)| number))
}
