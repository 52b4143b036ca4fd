//! What few spans have beside their other facts: one entry for each row that says so.

use nexarch_core::{
    Text,
    facts::{Extra, GenAiRole, MAX_FAR_LINKS, MAX_NEAR_LINKS, Messaging},
    ids::{SpanId, TraceId},
};

use super::{
    Corrupt,
    bytes::{Reader, put_len, put_varint},
    texts::{self, Texts},
};

/// Beside the role: links into other traces follow. Entries without them are as they always were.
const HAS_FAR: u8 = 1 << 7;

/// Appends an entry: role; number of far links; messages and tokens, each plus one or 0 for none; agent and tool; links;
/// far links.
pub(super) fn put<'a>(out: &mut Vec<u8>, extra: &'a Extra, texts: &mut Texts<'a>) {
    out.push(extra.role as u8 | if extra.far.is_empty() { 0 } else { HAS_FAR });
    put_varint(out, u64::from(extra.far_links));
    for number in [extra.messages, extra.input_tokens, extra.output_tokens] {
        put_varint(out, number.map_or(0, |number| u64::from(number) + 1));
    }
    for text in [&extra.agent, &extra.tool] {
        put_varint(out, texts.id(text));
    }
    put_len(out, extra.links.len());
    extra.links.iter().for_each(|link| out.extend_from_slice(&link.to_bytes()));
    if !extra.far.is_empty() {
        put_len(out, extra.far.len());
        for (trace, span) in &extra.far {
            out.extend_from_slice(&trace.to_bytes());
            out.extend_from_slice(&span.to_bytes());
        }
    }
}

/// Reads what [`put`] wrote.
pub(super) fn read(reader: &mut Reader<'_>, texts: &[Text]) -> Result<Extra, Corrupt> {
    let first = reader.byte()?;
    let role = match first & !HAS_FAR {
        0 => GenAiRole::Other,
        1 => GenAiRole::Agent,
        2 => GenAiRole::Tool,
        _ => return Err(Corrupt("role")),
    };
    let far_links = reader.varint32()?;
    let (messages, input_tokens, output_tokens) = (number(reader)?, number(reader)?, number(reader)?);
    let (agent, tool) = (texts::get(reader, texts)?, texts::get(reader, texts)?);
    let count = reader.index(MAX_NEAR_LINKS + 1)?;
    let link = |_| SpanId::from_bytes(reader.array()?).ok_or(Corrupt("link"));
    let links = (0..count).map(link).collect::<Result<_, _>>()?;
    let far = if first & HAS_FAR == 0 { Vec::new() } else { read_far(reader)? };
    Ok(Extra { links, far_links, far, messages, input_tokens, output_tokens, role, agent, tool })
}

fn read_far(reader: &mut Reader<'_>) -> Result<Vec<(TraceId, SpanId)>, Corrupt> {
    let count = reader.index(MAX_FAR_LINKS + 1)?;
    let link = |_| {
        let trace = TraceId::from_bytes(reader.array()?).ok_or(Corrupt("linked trace"))?;
        Ok((trace, SpanId::from_bytes(reader.array()?).ok_or(Corrupt("link"))?))
    };
    (0..count).map(link).collect()
}

fn number(reader: &mut Reader<'_>) -> Result<Option<u32>, Corrupt> {
    match reader.varint()?.checked_sub(1) {
        Some(number) => u32::try_from(number).map(Some).map_err(|_| Corrupt("number too large")),
        None => Ok(None),
    }
}

/// An operation from its number.
pub(super) fn read_messaging(number: u8) -> Result<Messaging, Corrupt> {
    use Messaging::{Create, Process, Receive, Send, Settle, Unstated};
    [Unstated, Create, Send, Receive, Process, Settle]
        .into_iter()
        .find(|operation| *operation as u8 == number)
        .ok_or(Corrupt("messaging operation"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was stored before links into other traces were kept can be read, and is written the same.
    #[test]
    fn entries_without_links_into_other_traces_are_as_they_always_were() {
        let id = SpanId::from_bytes([5; 8]).unwrap();
        let extra = Extra { links: vec![id], far_links: 3, messages: Some(2), ..Extra::default() };
        let mut out = Vec::new();
        put(&mut out, &extra, &mut Texts::default());
        assert_eq!(out[..5], [0, 3, 3, 0, 0]);
        assert_eq!(out[7..], [1, 5, 5, 5, 5, 5, 5, 5, 5]);
        let mut reader = Reader::new(&out);
        assert_eq!(read(&mut reader, &[Text::new()]).unwrap(), extra);
        assert_eq!(reader.left(), 0);
    }
}
