//! Text by strangers, and numbers for people.

use std::fmt::Write;

use crate::layout::{LABEL_CHARACTERS, advance, is_direction};

/// Escapes for XML text and attributes. Characters that XML cannot hold become U+FFFD; those that change the
/// direction of text are shown as escapes, so that a name cannot pretend to be another.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("&#10;"),
            c => plain_char(&mut out, c),
        }
    }
    out
}

/// Shows on one line what may be shown as it is: characters that control devices or documents become U+FFFD, line
/// ends spaces, and those that change the direction of text escapes.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        plain_char(&mut out, if matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { c });
    }
    out
}

fn plain_char(out: &mut String, c: char) {
    match c {
        c if is_direction(c) => {
            let _ = write!(out, "\\u{:04x}", c as u32);
        }
        '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
        c if c.is_control() => out.push('\u{fffd}'),
        c => out.push(c),
    }
}

/// Widest name in a list or a tooltip, in characters: what is longer was not written for people.
pub(crate) const NAME_CHARACTERS: usize = 120;

/// Cut to the width of a label on the map.
pub(crate) fn cut(text: &str) -> String {
    cut_to(text, LABEL_CHARACTERS)
}

/// Cut to a width in the middle, because ends differ more than middles do (`…/orders`, `…-service`).
pub(crate) fn cut_to(text: &str, width: usize) -> String {
    // A name may be long: no more than what can be shown is looked at, from either end.
    if text.chars().take(width + 1).map(advance).sum::<usize>() <= width {
        return text.into();
    }
    let part = |characters: &mut dyn Iterator<Item = char>, room: usize| -> Vec<char> {
        let mut used = 0;
        characters
            .take_while(|&c| {
                used += advance(c);
                used <= room
            })
            .collect()
    };
    let tail = width * 2 / 5;
    let head: String = part(&mut text.chars(), width - 1 - tail).into_iter().collect();
    let tail: String = part(&mut text.chars().rev(), tail).into_iter().rev().collect();
    format!("{head}…{tail}")
}

/// `17`, `1.2k`, `3.4M`.
pub(crate) fn count(number: u64) -> String {
    let scaled = |unit: f64, suffix: &str| format!("{:.1}{suffix}", number as f64 / unit);
    match number {
        0..=999 => number.to_string(),
        1000..=999_949 => scaled(1e3, "k"),
        999_950..=999_949_999 => scaled(1e6, "M"),
        _ => scaled(1e9, "G"),
    }
}

/// `0.42 ms`, `4.2 ms`, `42 ms`, `4.2 s`; a dash when unknown.
pub(crate) fn latency(ms: Option<f64>) -> String {
    match ms {
        None => "–".into(),
        Some(ms) if ms < 0.995 => format!("{ms:.2} ms"),
        Some(ms) if ms < 9.95 => format!("{ms:.1} ms"),
        Some(ms) if ms < 999.5 => format!("{ms:.0} ms"),
        Some(ms) if ms < 99_950.0 => format!("{:.1} s", ms / 1e3),
        Some(ms) => format!("{:.0} min", ms / 6e4),
    }
}

/// `0 %`, `0.3 %`, `12 %`; a dash when unknown. What is not zero never shows as zero.
pub(crate) fn percent(ratio: Option<f64>) -> String {
    match ratio.map(|ratio| ratio * 100.0) {
        None => "–".into(),
        Some(percent) if percent <= 0.0 => "0 %".into(),
        Some(percent) if percent < 0.1 => "<0.1 %".into(),
        Some(percent) if percent < 9.95 => format!("{percent:.1} %"),
        Some(percent) => format!("{percent:.0} %"),
    }
}
