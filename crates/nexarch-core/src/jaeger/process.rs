//! The senders of a trace: `processes`.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::tags;
use crate::{
    foreign::{fields, named, quoted, text},
    otlp::{Budget, Reason, Sender},
    span::{Resource, Value, attribute},
};

/// Most processes of one trace. A trace of 100,000 spans on 5,000 pods is large; each may cost a resource.
const MAX_PROCESSES: usize = 65_536;

/// Reads all senders; one that is invalid costs the spans that name it.
pub(super) fn read(
    body: &Bytes,
    processes: &RawValue,
    budget: &Budget,
) -> Result<BTreeMap<String, Sender>, String> {
    let found = serde_json::Deserializer::from_str(processes.get()).deserialize_map(Processes);
    let found = found.map_err(|_| {
        format!("expected an object of at most {MAX_PROCESSES} processes, got {}", quoted(processes))
    })?;
    let sender = |raw: &RawValue| Sender::new(resource(body, raw, budget).map_err(Reason::Field));
    Ok(found.into_iter().map(|(id, raw)| (id.into_owned(), sender(raw))).collect())
}

/// Of a repeated process the last counts.
struct Processes;

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Id<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Processes {
    type Value = BTreeMap<Cow<'de, str>, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = BTreeMap::new();
        while let Some((Id(id), raw)) = map.next_entry()? {
            if found.len() == MAX_PROCESSES {
                return Err(serde::de::Error::custom("too many"));
            }
            found.insert(id, raw);
        }
        Ok(found)
    }
}

fn resource(body: &Bytes, raw: &RawValue, budget: &Budget) -> Result<Resource, String> {
    let [service, list] = fields(raw.get(), &["serviceName", "tags"])?;
    let mut attributes = named("tags", list.map_or(Ok(Vec::new()), |raw| tags::read(body, raw, budget)))?;
    // What older clients of Jaeger call the host.
    if attribute(&attributes, "host.name").is_none()
        && let Some(host) = attribute(&attributes, "hostname").cloned()
    {
        attributes.push(("host.name".into(), host));
    }
    if let Some(service) = service {
        attributes.retain(|(key, _)| key != "service.name");
        let name = named("serviceName", text(body, service))?;
        attributes.insert(0, ("service.name".into(), Value::Str(name)));
    }
    Ok(Resource { attributes })
}
