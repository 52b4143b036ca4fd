//! The architecture as one HTML page that stands alone: the picture and every figure as tables. It needs no script and
//! no other file, follows the reader's light or dark scheme, and can be printed.

mod style;
mod tables;

use std::fmt::Write;

use super::{svg, text::escape, words};
use crate::graph::ArchitectureMap;

/// Nothing is loaded and nothing runs, even if an escape were forgotten.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Widest picture that is fitted to the width of the page; a wider one is scrolled, or nobody could read it.
const FITTED: i32 = 2_200;

/// The page of a map.
pub fn render(map: &ArchitectureMap) -> String {
    page(map, "")
}

/// The page of a map, with further sections (HTML, already escaped) between the picture and the tables.
pub(super) fn page(map: &ArchitectureMap, sections: &str) -> String {
    let picture = svg::inline(map);
    let size = picture.svg.len() + sections.len() + 600 * (map.nodes.len() + map.edges.len());
    let mut out = String::with_capacity(8192 + size);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"{POLICY}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta \
         name=\"color-scheme\" content=\"light dark\">\n<title>Architecture</title>\n<style>{}</style>\n</head>\n<body>\n\
         <main>\n",
        style::STYLE
    );
    head(&mut out, map);
    let fitted = if picture.width > FITTED { "wide" } else { "fitted" };
    let _ = writeln!(
        out,
        "<figure class=\"map {fitted}\" tabindex=\"0\" aria-label=\"The map; the same figures are in the tables \
         below\">{}</figure>",
        picture.svg
    );
    out.push_str(sections);
    tables::nodes(&mut out, map);
    tables::edges(&mut out, map);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn head(out: &mut String, map: &ArchitectureMap) {
    let summary = match words::summary(map) {
        empty if empty.is_empty() => "No spans in this window".into(),
        summary => summary,
    };
    let _ = write!(out, "<header>\n<h1>Architecture</h1>\n<p class=\"lead\">{}</p>\n<dl>", escape(&summary));
    let mut fact = |term: &str, value: &str| {
        let _ = write!(out, "<div><dt>{term}</dt><dd>{}</dd></div>", escape(value));
    };
    if let Some(window) = words::window(&map.window) {
        fact("Window", &window);
    }
    if let Some(updated) = &map.last_updated {
        fact("Newest data", updated);
    }
    let stats = &map.graph_stats;
    if stats.total_edges > 0 {
        fact("Calls in a circle", if stats.is_dag { "none" } else { "yes" });
    }
    if stats.folded_nodes + stats.folded_edges > 0 {
        fact(
            "Added up as “other”",
            &format!("{} nodes, {} connections", stats.folded_nodes, stats.folded_edges),
        );
    }
    out.push_str("</dl>\n</header>\n");
}
