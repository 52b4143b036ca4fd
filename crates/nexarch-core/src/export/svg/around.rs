//! What stands above and below a map.

use std::fmt::Write;

use super::{MARGIN, escape, words};
use crate::graph::ArchitectureMap;

/// Title, summary and window.
pub(super) fn header(out: &mut String, map: &ArchitectureMap) {
    let _ = write!(out, "<text class=\"title\" x=\"{MARGIN}\" y=\"38\">Architecture</text>");
    let mut line = words::summary(map);
    if let Some(window) = words::window(&map.window) {
        let _ = write!(line, "{}{window}", if line.is_empty() { "" } else { " · " });
    }
    let _ = write!(out, "<text class=\"figures\" x=\"{MARGIN}\" y=\"60\">{}</text>", escape(&line));
}

/// What lines and colours mean.
pub(super) fn legend(out: &mut String, height: i32) {
    let y = height - 22;
    let mut x = MARGIN;
    let entries = [
        ("good", "errors under 1 %"),
        ("fair", "under 5 %"),
        ("bad", "5 % and more"),
        ("good inferred", "inferred"),
    ];
    for (class, label) in entries {
        let _ = write!(
            out,
            "<path class=\"edge {class}\" stroke-width=\"2.5\" d=\"M{x} {}h30\"/><text class=\"figures\" x=\"{}\" \
             y=\"{y}\">{label}</text>",
            y - 4,
            x + 38
        );
        x += 56 + 7 * i32::try_from(label.len()).unwrap_or(0);
    }
    let _ = write!(
        out,
        "<text class=\"figures\" x=\"{x}\" y=\"{y}\">width of a line: its share of the traffic, logarithmic</text>"
    );
}
