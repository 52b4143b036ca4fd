//! What an import tells at its end.

use std::path::Path;

use nexarch_core::otlp::{Flags, Reason};
use serde::Serialize;

use super::{
    request::{Place, Problem, Request},
    shift::{Offset, Shift},
    source::Unreadable,
};

/// How many problems are kept with their words; all are counted.
const MAX_KEPT_PROBLEMS: usize = 20;

const TOO_OLD: &str =
    "the spans are older than the retention; pass --shift-to-now to move them to the present";
const TOO_FAR: &str = "some spans are older than the retention before the newest one, or later than nearly all others; \
                       import them apart, or raise RETENTION_DAYS";

/// What became of an import; serialised it is the last line on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// New spans.
    pub accepted: u64,
    /// Spans that were known.
    pub duplicates: u64,
    /// Invalid spans, and one for each part of a file that could not be read as a request.
    pub rejected: u64,
    /// Files read.
    pub files: u64,
    /// The first problems; a span of OTLP names the line of its request.
    #[serde(skip)]
    pub problems: Vec<Problem>,
    /// How many problems are not among these.
    #[serde(skip)]
    pub more_problems: u64,
    /// What to do about it, for a person.
    #[serde(skip)]
    pub hint: Option<&'static str>,
    /// By how much the spans were moved.
    #[serde(skip)]
    pub offset: Option<Offset>,
    /// What was odd about the spans, and why some were rejected.
    #[serde(skip)]
    pub flags: Flags,
}

impl Summary {
    /// Counts a file that could be read at the first look, and not when its turn came.
    pub(super) fn note_gone(&mut self, file: &Path, why: &Unreadable) {
        let reason = match why {
            Unreadable::Io { cause, .. } => format!("it cannot be read any more: {cause}"),
            other => format!("it is another file now: {other}"),
        };
        let problem = Problem { file: file.to_owned(), place: Place::Line(1), reason };
        self.note(file, &Err(problem), Shift::No);
    }

    /// Counts spans that were refused in the end: their days were dropped meanwhile.
    pub(super) fn note_expired(&mut self, spans: u64, shift: Shift) {
        self.rejected += spans;
        self.flags.rejected_expired += spans;
        if spans > 0 {
            self.hint = Some(if shift == Shift::No { TOO_OLD } else { TOO_FAR });
        }
    }

    /// Counts what is wrong with a request.
    pub(super) fn note(&mut self, file: &Path, request: &Result<Request, Problem>, shift: Shift) {
        let (problems, total) = match request {
            Ok(request) => {
                self.rejected += request.decoded.rejected_total as u64;
                self.flags.add(&request.decoded.flags);
                let out_of_time = |reason: &Reason| match reason {
                    Reason::Expired => true,
                    Reason::Future => shift != Shift::No,
                    _ => false,
                };
                if request.decoded.rejected.iter().any(|span| out_of_time(&span.reason)) {
                    self.hint = Some(if shift == Shift::No { TOO_OLD } else { TOO_FAR });
                }
                request.problems(file)
            }
            Err(problem) => {
                self.rejected += 1;
                (vec![problem.clone()], 1)
            }
        };
        let room = MAX_KEPT_PROBLEMS.saturating_sub(self.problems.len()).min(problems.len());
        self.more_problems += total.max(problems.len() as u64) - room as u64;
        self.problems.extend(problems.into_iter().take(room));
    }
}
