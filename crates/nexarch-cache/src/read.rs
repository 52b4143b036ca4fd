//! What a read asks for, and what its computation brings.

use crate::envelope::Codec;
use crate::operation::OperationId;
use bytes::Bytes;
use std::time::Duration;

/// One read: which operation, which parameters, and on what terms.
///
/// Everything but [`Directives`] is a property of the entry: reads of the same operation and parameters must
/// give the same `ttl` and `depends_on_data`, and compute the same thing.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    pub(crate) operation: OperationId,
    pub(crate) params: &'a str,
    pub(crate) ttl: Option<Duration>,
    pub(crate) depends_on_data: Option<bool>,
    pub(crate) directives: Directives,
    pub(crate) shape: &'static Shape,
    /// A hash of the type of the body; 0 for bytes.
    pub(crate) of_type: u64,
}

impl<'a> Read<'a> {
    /// A read on the terms of the operation. `params` are canonical: equal requests give equal text.
    #[inline]
    pub fn new(operation: OperationId, params: &'a str) -> Self {
        Self {
            operation,
            params,
            ttl: None,
            depends_on_data: None,
            directives: Directives::default(),
            shape: &Shape::BYTES,
            of_type: 0,
        }
    }

    /// Lets this entry live at most `ttl`; the operation's TTL holds when it is shorter.
    #[must_use]
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Whether this entry becomes old when data change, in place of what the operation says.
    #[must_use]
    pub fn depends_on_data(mut self, depends: bool) -> Self {
        self.depends_on_data = Some(depends);
        self
    }

    /// What the caller asks of this one answer.
    #[must_use]
    pub fn directives(mut self, directives: Directives) -> Self {
        self.directives = directives;
        self
    }
}

/// What a caller asks of one answer; the default asks nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// The answer contains every change up to this version; 0 asks nothing.
    pub min_version: u64,
    /// Only a computation that began after the call will do.
    pub no_cache: bool,
    /// An entry that was overtaken by *data*, at most this long ago, will do. Never one that was invalidated by
    /// hand, has expired or lacks `min_version`.
    pub max_stale: Option<Duration>,
    /// Fail with [`Error::NotCached`](crate::Error::NotCached) rather than compute.
    pub only_if_cached: bool,
}

/// What is in a body, as far as the cache has to know.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) codec: Codec,
    /// Whether a body that comes from elsewhere can be read.
    pub(crate) decodes: fn(&[u8]) -> bool,
}

impl Shape {
    const BYTES: Self = Self { codec: Codec::Bytes, decodes: |_| true };
}

/// What a computation brings: bytes, or a value for [`Cache::get_or_compute_typed`](crate::Cache::get_or_compute_typed).
#[derive(Clone, Debug)]
pub struct Computed<T = Bytes> {
    pub(crate) body: T,
    pub(crate) data_version: Option<u64>,
    pub(crate) negative: bool,
    pub(crate) took: Option<Duration>,
}

impl Computed {
    /// A value that saw the data as they were when the computation began, or later.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self::of(body.into())
    }
}

impl<T> Computed<T> {
    /// As [`Computed::new`], for a value of a type.
    pub fn of(value: T) -> Self {
        Self { body: value, data_version: None, negative: false, took: None }
    }

    /// The value.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// The value says "there is nothing": it lives for the operation's
    /// [`negative_ttl`](crate::Operation::negative_ttl), and [`Answer::is_negative`](crate::Answer::is_negative) tells.
    #[must_use]
    pub fn negative(mut self) -> Self {
        self.negative = true;
        self
    }

    /// What computing it took, where the closure waited for something else, too, as for its turn: statistics, early
    /// refreshes and leases of the cluster go by this. Without it, it is the time of the closure.
    #[must_use]
    pub fn took(mut self, time: Duration) -> Self {
        self.took = Some(time);
        self
    }

    /// The data version that the *first* statement of its snapshot read, or the smallest version of anything it
    /// took from elsewhere. Read before computing, never after.
    #[must_use]
    pub fn with_data_version(mut self, version: u64) -> Self {
        self.data_version = Some(version);
        self
    }
}
