//! What this process knows of one scope's versions. Raised, never lowered: a reply that was overtaken on its way
//! can only repeat what is known.
//!
//! Beside it, what it only **heard**: messages may be lost, late or false. Hearsay makes a hit a miss and nothing
//! else: no label, no flight and no answer rests on it, since what claims to have seen a version that was never given
//! would be served over changes that were. It lasts until a read of the authority that was sent after it came.
//!
//! Pure: no clock, no IO, no async. A new epoch is a new mirror.

use crate::clock::BootTime;
use crate::fence::{Epoch, Fence};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use std::time::Duration;

/// How long a truth read is believed when others may write, counted from before it was *sent*: whatever was
/// committed before it was sent is in its answer, whatever came later is at most this old.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// When a mirror is believed without asking.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust {
    /// Every commit passes through this process, which raises the mirror before it acknowledges.
    Sole,
    /// This process owns the versions, and looks again and again whether a guest committed: what was read is believed
    /// for [`LEASE`] after the last look that found nothing else.
    Watched { now: BootTime, looked: BootTime },
    /// Others commit too: what was read is believed for [`LEASE`].
    Lease(BootTime),
}

/// What a version belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The whole scope.
    Tenant,
    /// The operation of this index; one that the cache does not have is passed over.
    Operation(usize),
    /// What depends on data.
    Data,
}

/// The versions of one scope under one epoch.
///
/// A hit reads four plain atomics and takes no lock; who writes takes one. Of what is known each part only grows, so a
/// mix of two moments is a fence at least as new as the older of them. All orderings are `SeqCst`: loads cost the same
/// on x86-64, writes are rare, and it is what the interleaving tests model.
#[derive(Debug)]
pub(crate) struct Mirror {
    epoch: Epoch,
    /// The larger of known and heard, part by part. Written under the lock of `books`.
    tenant: AtomicU64,
    data: AtomicU64,
    operations: Box<[AtomicU64]>,
    /// The scope's clock up to which what is known is complete.
    known: AtomicU64,
    /// Nanoseconds since boot when the latest complete read was sent; 0 = never.
    asof: AtomicU64,
    books: Mutex<Books>,
}

/// Known and heard apart, by part.
#[derive(Clone, Debug)]
struct Books {
    /// Counts the reads of the authority that were sent.
    sent: u64,
    tenant: Book,
    data: Book,
    operations: Box<[Book]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Book {
    known: u64,
    /// Heard before the latest read was sent: its answer puts an end to it.
    heard: u64,
    /// Heard since. Not one number with `heard`: a stream of true messages would keep a false one alive for ever.
    overtaking: u64,
}

/// One read of the authority that was sent: what was heard before ends with its answer, and what was committed before
/// is in it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    number: u64,
    clock: u64,
    versions: Box<[u64]>,
}

/// What a read needs, and the version up to which that is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needed {
    pub(crate) fence: Fence,
    pub(crate) known: u64,
}

impl Mirror {
    pub(crate) fn new(epoch: Epoch, operations: usize) -> Self {
        let books = Books {
            sent: 0,
            tenant: Book::default(),
            data: Book::default(),
            operations: vec![Book::default(); operations].into(),
        };
        Self {
            epoch,
            tenant: AtomicU64::new(0),
            data: AtomicU64::new(0),
            operations: (0..operations).map(|_| AtomicU64::new(0)).collect(),
            known: AtomicU64::new(0),
            asof: AtomicU64::new(0),
            books: Mutex::new(books),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn raise_tenant(&self, version: u64) {
        self.write(Part::Tenant, |book| book.known = book.known.max(version));
    }

    pub(crate) fn raise_data(&self, version: u64) {
        self.write(Part::Data, |book| book.known = book.known.max(version));
    }

    pub(crate) fn raise_operation(&self, operation: usize, version: u64) {
        self.write(Part::Operation(operation), |book| book.known = book.known.max(version));
    }

    /// Raises what is known: of the whole scope, of data, then of the operations by index.
    pub(crate) fn raise(&self, versions: &[u64]) {
        let mut books = lock(&self.books);
        for (book, version) in books.iter_mut().zip(versions) {
            book.known = book.known.max(*version);
        }
        self.publish(&mut books);
    }

    /// A message of this epoch says that `part` has reached `version`. Vouches for nothing: neither `known` nor the
    /// lease moves.
    pub(crate) fn hear(&self, part: Part, version: u64) {
        self.write(part, |book| {
            // Compared with what is known, not with what was heard: that may turn out to be false.
            if version > book.known {
                book.overtaking = book.overtaking.max(version);
            }
        });
    }

    /// Whether `version` is newer than what is known and was heard of the part.
    pub(crate) fn is_news(&self, part: Part, version: u64) -> bool {
        let part = match part {
            Part::Tenant => Some(&self.tenant),
            Part::Data => Some(&self.data),
            Part::Operation(n) => self.operations.get(n),
        };
        part.is_some_and(|needed| version > needed.load(Ordering::SeqCst))
    }

    /// A read of the authority is about to be sent; one that is sent after another replaces it.
    pub(crate) fn sending(&self) -> Sent {
        let mut books = lock(&self.books);
        books.sent += 1;
        for book in books.iter_mut() {
            book.heard = book.heard.max(book.overtaking);
            book.overtaking = 0;
        }
        let versions: Box<[u64]> = books.iter_mut().map(|book| book.known).collect();
        // A computation may have seen what no whole read did: it is committed all the same.
        let clock = versions.iter().copied().max().unwrap_or(0).max(self.known());
        Sent { number: books.sent, clock, versions }
    }

    /// The read that was named `sent` has raised the parts: it knows better than what was heard before it.
    pub(crate) fn answered(&self, sent: &Sent) {
        let mut books = lock(&self.books);
        if books.sent == sent.number {
            books.iter_mut().for_each(|book| book.heard = 0);
            self.publish(&mut books);
        }
    }

    /// Whether versions that were read under the lock of the scope's row are behind what is known here in any part: a
    /// later transaction was faster, or the database was set back. Either way they vouch for nothing.
    pub(crate) fn behind(&self, versions: &[u64]) -> bool {
        lock(&self.books).iter_mut().zip(versions).any(|(book, version)| *version < book.known)
    }

    /// Every version up to `clock` has been raised here; they were asked for at `sent`. Called after the parts
    /// are raised: who sees the new trust sees what it vouches for.
    pub(crate) fn complete(&self, clock: u64, sent: BootTime) {
        self.known.fetch_max(clock, Ordering::SeqCst);
        self.asof.fetch_max(sent.as_nanos().max(1), Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn known(&self) -> u64 {
        self.known.load(Ordering::SeqCst)
    }

    /// Whether the parts were ever read whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.asof.load(Ordering::SeqCst) > 0
    }

    /// Whether what is known may be believed now: read whole after `floor` (the last moment at which trust was
    /// withdrawn), the lease not run out, and `min_version` reached.
    #[inline]
    pub(crate) fn trusted(&self, trust: Trust, floor: BootTime, min_version: u64) -> bool {
        let asof = self.asof.load(Ordering::SeqCst);
        let read = BootTime::from_nanos(asof);
        let in_time = match trust {
            Trust::Sole => true,
            Trust::Watched { now, looked } => now.since(read.max(looked)) <= LEASE,
            Trust::Lease(now) => now.since(read) <= LEASE,
        };
        asof > floor.as_nanos() && in_time && self.known() >= min_version
    }

    /// What a hit needs that begins now: what is known and what was heard. Not for labels and flights; see
    /// [`Mirror::certain`].
    #[inline]
    pub(crate) fn need(&self, operation: usize, follows_data: bool) -> Needed {
        // `known` before the parts: complete() raises in the opposite order, so the parts read here are complete
        // up to it.
        let known = self.known();
        let fence = Fence {
            epoch: self.epoch,
            tenant: self.tenant.load(Ordering::SeqCst),
            operation: self.operations.get(operation).map_or(0, |part| part.load(Ordering::SeqCst)),
            data: if follows_data { self.data.load(Ordering::SeqCst) } else { 0 },
        };
        Needed { fence, known }
    }

    /// What is known, without what was only heard: the fence of a computation, and of whoever waits for one.
    pub(crate) fn certain(&self, operation: usize, follows_data: bool) -> Needed {
        let known = self.known();
        let books = lock(&self.books);
        let fence = Fence {
            epoch: self.epoch,
            tenant: books.tenant.known,
            operation: books.operations.get(operation).map_or(0, |book| book.known),
            data: if follows_data { books.data.known } else { 0 },
        };
        Needed { fence, known }
    }

    /// Whether more was heard than is known. A read that found nothing asks the authority then: if the message was
    /// true, a value computed without asking would carry a label that the next hit does not take.
    pub(crate) fn in_doubt(&self) -> bool {
        lock(&self.books).iter_mut().any(|book| book.needed() > book.known)
    }

    /// Known, heard and heard since, part by part; the clock and the moment they are complete to.
    #[cfg(test)]
    #[allow(dead_code, reason = "what the exhaustive model tells states by; it compiles this file")]
    pub(crate) fn picture(&self) -> Vec<u64> {
        let mut books = lock(&self.books).clone();
        let books = books.iter_mut().flat_map(|book| [book.known, book.heard, book.overtaking]);
        books.chain([self.epoch.get(), self.known(), self.asof.load(Ordering::SeqCst)]).collect()
    }

    /// Shows hits what the books say.
    fn publish(&self, books: &mut Books) {
        let parts = [&self.tenant, &self.data].into_iter().chain(&self.operations);
        for (book, part) in books.iter_mut().zip(parts) {
            part.store(book.needed(), Ordering::SeqCst);
        }
    }

    fn write(&self, part: Part, set: impl FnOnce(&mut Book)) {
        let mut books = lock(&self.books);
        let (book, needed) = match part {
            Part::Tenant => (&mut books.tenant, &self.tenant),
            Part::Data => (&mut books.data, &self.data),
            Part::Operation(n) => match (books.operations.get_mut(n), self.operations.get(n)) {
                (Some(book), Some(needed)) => (book, needed),
                _ => return,
            },
        };
        set(book);
        needed.store(book.needed(), Ordering::SeqCst);
    }
}

/// A model tries every next step from the same state.
#[cfg(test)]
impl Clone for Mirror {
    fn clone(&self) -> Self {
        let copy = |part: &AtomicU64| AtomicU64::new(part.load(Ordering::SeqCst));
        Self {
            epoch: self.epoch,
            tenant: copy(&self.tenant),
            data: copy(&self.data),
            operations: self.operations.iter().map(copy).collect(),
            known: copy(&self.known),
            asof: copy(&self.asof),
            books: Mutex::new(lock(&self.books).clone()),
        }
    }
}

impl Sent {
    /// Whether an answer is of a database that was set back: it lacks something that was committed before it was asked
    /// for. The clock alone does not show it, when changes went on before anybody looked.
    pub(crate) fn lacks(&self, clock: u64, versions: &[u64]) -> bool {
        clock < self.clock || versions.iter().zip(&self.versions).any(|(now, then)| now < then)
    }
}

#[cfg(test)]
#[allow(dead_code, reason = "what the exhaustive model tells states by; it compiles this file")]
impl Sent {
    /// What it was sent under.
    pub(crate) fn picture(&self) -> (u64, &[u64]) {
        (self.clock, &self.versions)
    }
}

impl Books {
    /// In the order of [`Mirror::raise`].
    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Book> {
        [&mut self.tenant, &mut self.data].into_iter().chain(&mut self.operations)
    }
}

impl Book {
    fn needed(&self) -> u64 {
        self.known.max(self.heard).max(self.overtaking)
    }
}
