//! Turns: work that all servers of a database do once for each time it is due.

/// A piece of work, once it is due, and who asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn<'a> {
    /// What is to be done.
    pub work: &'a str,
    /// When it is due, microseconds since the Unix epoch: the same number for everybody.
    pub due_us: u64,
    /// A name that no other process has.
    pub owner: &'a str,
}
