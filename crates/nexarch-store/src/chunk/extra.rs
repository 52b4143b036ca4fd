//! What few spans have beside their other facts: one entry for each row that says so.

use nexarch_core::{
    Text,
    facts::{Extra, GenAiRole, MAX_NEAR_LINKS, Messaging},
    ids::SpanId,
};

use super::{
    Corrupt,
    bytes::{Reader, put_len, put_varint},
    texts::{self, Texts},
};

/// Appends an entry: role; far links; messages and tokens, each plus one or 0 for none; agent and tool; links.
pub(super) fn put<'a>(out: &mut Vec<u8>, extra: &'a Extra, texts: &mut Texts<'a>) {
    out.push(extra.role as u8);
    put_varint(out, u64::from(extra.far_links));
    for number in [extra.messages, extra.input_tokens, extra.output_tokens] {
        put_varint(out, number.map_or(0, |number| u64::from(number) + 1));
    }
    for text in [&extra.agent, &extra.tool] {
        put_varint(out, texts.id(text));
    }
    put_len(out, extra.links.len());
    extra.links.iter().for_each(|link| out.extend_from_slice(&link.to_bytes()));
}

/// Reads what [`put`] wrote.
pub(super) fn read(reader: &mut Reader<'_>, texts: &[Text]) -> Result<Extra, Corrupt> {
    let role = match reader.byte()? {
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
    Ok(Extra { links, far_links, messages, input_tokens, output_tokens, role, agent, tool })
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
