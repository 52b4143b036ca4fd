//! The architecture map for other tools and for paper.
//!
//! Every name in a map was written by a stranger. Each format has its own rules of what a text may hold, and its own
//! escapes: a name never becomes syntax, and one that is too long to read is cut.

pub mod dot;
pub mod drift;
mod findings;
pub mod html;
pub mod mermaid;
mod mood;
pub mod plain;
pub(crate) mod report;
mod slug;
pub mod svg;
mod text;
mod words;

use std::str::FromStr;

use crate::graph::ArchitectureMap;

/// Form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The map as the API answers it.
    Json,
    /// A picture that stands alone.
    Svg,
    /// A flowchart for Mermaid, as Markdown of many places draws it.
    Mermaid,
    /// A graph for Graphviz.
    Dot,
    /// One page with picture and figures.
    Html,
}

impl Format {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::Json, Self::Svg, Self::Mermaid, Self::Dot, Self::Html];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Svg => "svg",
            Self::Mermaid => "mermaid",
            Self::Dot => "dot",
            Self::Html => "html",
        }
    }

    /// Of its bytes, which are UTF-8.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Svg => "image/svg+xml",
            Self::Mermaid => "text/vnd.mermaid; charset=utf-8",
            Self::Dot => "text/vnd.graphviz; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }
}

/// No name of a [`Format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("format must be json, svg, mermaid, dot or html")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or(UnknownFormat)
    }
}

/// A map in a format. Equal maps give equal bytes.
///
/// ```
/// use nexarch_core::{export::{render, Format}, graph::architecture_map, rollup::Rollup};
/// # use nexarch_core::{view::Context, window::Window};
/// # let context = Context { range: Window::default().range(None), environment: None, last_updated_us: 0,
/// #     stored_ns: None, latency_objective_ms: 1000.0, regressed: None, watched: Default::default() };
/// let map = architecture_map(&Rollup::default(), &context);
/// assert!(render(&map, Format::Mermaid).unwrap().contains("flowchart LR"));
/// ```
pub fn render(map: &ArchitectureMap, format: Format) -> Result<String, serde_json::Error> {
    Ok(match format {
        Format::Json => serde_json::to_string(map)?,
        Format::Svg => svg::render(map),
        Format::Mermaid => mermaid::render(map),
        Format::Dot => dot::render(map),
        Format::Html => html::render(map),
    })
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
