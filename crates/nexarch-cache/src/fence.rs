//! What a value must have seen to be served: versions, compared part by part.

/// The random number of one database, drawn when it was created and again after a restore.
///
/// Part of every fence and of every key, so that values of another database, or of this one before it was set
/// back, are never met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch with this number. Zero is reserved for "not read yet".
    #[inline]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A lower bound of versions: what a read needs, or (as a **label**) what a computation saw.
///
/// Versions of one scope come from one clock that never gives a number twice, so a larger number is a later
/// change. A part that was never raised is 0.
///
/// ```
/// use nexarch_cache::{Epoch, Fence};
///
/// let needed = Fence { epoch: Epoch::new(7), tenant: 1, operation: 5, data: 9 };
/// let label = Fence { data: 12, ..needed };
/// assert!(label.covers(&needed));
/// assert!(!needed.covers(&label));
/// assert!(!Fence { epoch: Epoch::new(8), ..label }.covers(&needed));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The database.
    pub epoch: Epoch,
    /// Raised by an invalidation of the whole scope.
    pub tenant: u64,
    /// Raised by an invalidation of the operation.
    pub operation: u64,
    /// Raised by every change of data; 0 for an operation that does not depend on data.
    pub data: u64,
}

impl Fence {
    /// Whether a value with this label may be served where `needed` is needed: the same database, and every
    /// part at least as new.
    #[inline]
    pub const fn covers(&self, needed: &Self) -> bool {
        self.covers_but_data(needed) && self.data >= needed.data
    }

    /// As [`Fence::covers`], leaving the data part aside.
    #[inline]
    pub(crate) const fn covers_but_data(&self, needed: &Self) -> bool {
        self.epoch.0 == needed.epoch.0 && self.tenant >= needed.tenant && self.operation >= needed.operation
    }

    /// Whether a stored value with this label stays when one labelled `new` arrives: only when it is newer and
    /// in no part older. Equal labels give way, the newcomer has more time to live.
    pub(crate) fn outranks(&self, new: &Self) -> bool {
        self.covers(new) && self != new
    }

    /// The newest version among the parts.
    pub(crate) fn newest(&self) -> u64 {
        self.tenant.max(self.operation).max(self.data)
    }
}
