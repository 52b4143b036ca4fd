//! File descriptors: every connection takes one, and the usual soft limit of 1,024 is meant for programs that use
//! `select`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one. A refusal is no error: fewer connections fit then, and the
/// accept loop waits for room.
pub fn raise_limit() {
    let now = getrlimit(Resource::Nofile);
    if now.current != now.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
