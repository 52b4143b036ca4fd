//! What comes out of a file: requests, and what could not be used.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use nexarch_core::otlp::Decoded;

/// Where in a file something begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of text, from 1.
    Line(u64),
    /// A byte of protobuf after decompression, from 0.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "{line}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}

/// A request of a file, or as much of the file as is handed on like one.
#[derive(Debug)]
pub struct Request {
    /// Where it begins.
    pub place: Place,
    /// Its spans, and what was wrong with the others.
    pub decoded: Decoded,
    /// Bytes of text that any of its spans keeps in memory.
    pub bytes: usize,
    /// Where the rejected spans that are named in `decoded` begin, when that is known better than by `place`.
    pub(super) rejected_at: Option<Vec<Place>>,
}

/// A part of a file that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{place}: {reason}", file.display())]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Where the part begins.
    pub place: Place,
    /// In words.
    pub reason: String,
}

impl Request {
    /// What was wrong with its spans, in words and with places: the first few, and how many there are.
    pub fn problems(&self, file: &Path) -> (Vec<Problem>, u64) {
        let problem = |place, reason| Problem { file: file.to_owned(), place, reason };
        if let Some(places) = &self.rejected_at {
            let rejected = self.decoded.rejected.iter().map(|span| span.reason.to_string());
            let first = places.iter().zip(rejected).map(|(place, reason)| problem(*place, reason));
            return (first.collect(), self.decoded.rejected_total as u64);
        }
        let all: Vec<Problem> =
            self.decoded.message().map(|reason| problem(self.place, reason)).into_iter().collect();
        let count = all.len() as u64;
        (all, count)
    }
}
