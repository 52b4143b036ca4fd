//! A budget of bytes for all requests under way, so that a flood meets a 429 and not the end of memory; and what of it one
//! tenant may hold, so that it is its own flood.
//!
//! A tenant may hold at most as much as is left free (the dynamic threshold of shared-memory switches: Choudhury and Hahne,
//! "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998, with α = 1). So one that is alone gets half,
//! two that want all a third each, and whoever comes next always finds room. But the only request under way may take all, and
//! of several one at a time may claim what is left but for an eighth of everything while it is decoded, or the largest ones
//! would be refused for ever. The places of the writer's queue are shared out in the same way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nexarch_core::ids::TenantId;

/// The budget; cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget {
    state: Arc<Mutex<State>>,
    /// Bytes.
    limit: usize,
    /// In the queue.
    places: usize,
}

/// What is held now.
#[derive(Debug, Default)]
struct State {
    all: Share,
    /// Of those with a request under way, and no others.
    tenants: HashMap<Owner, Share>,
    /// A large request has the claim to what is left.
    claimed: bool,
}

/// A tenant; `None` = the operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner(Option<TenantId>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Share {
    requests: usize,
    bytes: usize,
    places: usize,
}

/// No room now; the caller should come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Budget {
    /// A budget of `limit` bytes, and so many places in a queue.
    pub fn new(limit: usize, places: usize) -> Self {
        Self { state: Arc::default(), limit, places }
    }

    /// A hold on nothing yet, for a request of a tenant, or of the operator.
    pub fn hold(&self, tenant: Option<&TenantId>) -> Held {
        let tenant = Owner(tenant.cloned());
        let mut state = self.state();
        state.all.requests += 1;
        state.tenants.entry(tenant.clone()).or_default().requests += 1;
        Held { budget: self.clone(), tenant, bytes: 0, reserved: 0, claims: false, queued: false }
    }

    /// Most bytes held at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.state().all.bytes
    }

    /// Only numbers, each change of which is whole: a panic elsewhere leaves them right.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn share(&self, tenant: &Owner) -> Share {
        self.tenants.get(tenant).copied().unwrap_or_default()
    }

    /// How much more a tenant may take of something that there are `limit` of.
    fn room(&self, tenant: &Owner, limit: usize, of: impl Fn(&Share) -> usize) -> usize {
        let (all, own) = (of(&self.all), of(&self.share(tenant)));
        let free = limit.saturating_sub(all);
        if self.all.requests == 1 { free } else { free.saturating_sub(own) / 2 }
    }

    fn change(&mut self, tenant: &Owner, change: impl Fn(&mut Share)) {
        change(&mut self.all);
        if let Some(share) = self.tenants.get_mut(tenant) {
            change(share);
        }
    }
}

/// Bytes held, and perhaps a place in the queue; given back when dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    tenant: Owner,
    bytes: usize,
    /// Of these, for what is being made.
    reserved: usize,
    /// It has the claim to what is left.
    claims: bool,
    queued: bool,
}

impl Held {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whose request it is; `None` = the operator's.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.tenant.0.as_ref()
    }

    /// Takes more, or nothing when there is no room for all of it.
    pub fn grow(&mut self, more: usize) -> Result<(), Full> {
        let mut state = self.budget.state();
        if more > state.room(&self.tenant, self.budget.limit, |share| share.bytes) {
            return Err(Full);
        }
        state.change(&self.tenant, |share| share.bytes += more);
        self.bytes += more;
        Ok(())
    }

    /// Gives back all but so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.budget.state().change(&self.tenant, |share| share.bytes -= less);
        self.bytes -= less;
    }

    /// Takes up to so many bytes for something of unknown size, until [`Held::settle`] says how large it became; returns how
    /// many there were.
    pub fn reserve(&mut self, most: usize) -> usize {
        let mut state = self.budget.state();
        let mut taken = most.min(state.room(&self.tenant, self.budget.limit, |share| share.bytes));
        let limit = self.budget.limit;
        let claimed = most.min((limit - limit / 8).saturating_sub(state.all.bytes));
        if claimed > taken && !state.claimed {
            (state.claimed, self.claims) = (true, true);
            taken = claimed;
        }
        state.change(&self.tenant, |share| share.bytes += taken);
        self.bytes += taken;
        self.reserved += taken;
        taken
    }

    /// Could much more have been reserved at another time? Who has three quarters of everything need not come back: on a
    /// server that always has something to do there is no more.
    pub fn could_be_more(&self) -> bool {
        self.bytes < self.budget.limit - self.budget.limit / 4
    }

    fn give_up_claim(&mut self) {
        if std::mem::take(&mut self.claims) {
            self.budget.state().claimed = false;
        }
    }

    /// What something was reserved for takes so many bytes.
    pub fn settle(&mut self, bytes: usize) -> Result<(), Full> {
        self.give_up_claim();
        let reserved = std::mem::take(&mut self.reserved);
        let kept = self.bytes - reserved;
        self.shrink_to(kept + bytes.min(reserved));
        self.grow(bytes.saturating_sub(reserved)).inspect_err(|Full| self.shrink_to(kept))
    }

    /// Takes a place in the queue.
    pub fn enqueue(&mut self) -> Result<(), Full> {
        let mut state = self.budget.state();
        if !self.queued && state.room(&self.tenant, self.budget.places, |share| share.places) == 0 {
            return Err(Full);
        }
        state.change(&self.tenant, |share| share.places += usize::from(!self.queued));
        self.queued = true;
        Ok(())
    }

    /// Its turn has come.
    pub fn dequeue(&mut self) {
        let place = usize::from(std::mem::take(&mut self.queued));
        self.budget.state().change(&self.tenant, |share| share.places -= place);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_up_claim();
        let (bytes, place) = (self.bytes, usize::from(self.queued));
        let mut state = self.budget.state();
        state.change(&self.tenant, |share| {
            share.requests -= 1;
            share.bytes -= bytes;
            share.places -= place;
        });
        if state.share(&self.tenant) == Share::default() {
            state.tenants.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(budget: &Budget, tenant: &str) -> Held {
        budget.hold(Some(&tenant.parse().unwrap()))
    }

    #[test]
    fn a_full_budget_refuses_and_recovers() {
        let budget = Budget::new(100, 9);
        let mut only = hold(&budget, "a");
        assert_eq!(only.grow(101), Err(Full));
        assert_eq!(only.grow(usize::MAX), Err(Full));
        assert_eq!(only.grow(100), Ok(()), "alone it may take all");
        assert_eq!(hold(&budget, "b").grow(1), Err(Full));
        only.shrink_to(40);
        assert_eq!(budget.used(), 40);
        drop(only);
        assert_eq!(budget.used(), 0);
        assert!(budget.state().tenants.is_empty(), "nobody is remembered");
    }

    #[test]
    fn a_tenant_leaves_room_for_others() {
        let budget = Budget::new(1_000, 9);
        let fill = |tenant: &str| -> Vec<Held> {
            let take = |()| {
                let mut held = hold(&budget, tenant);
                held.grow(10).ok().map(|()| held)
            };
            std::iter::repeat(()).map_while(take).collect()
        };
        let greedy = fill("greedy");
        assert_eq!(greedy.len(), 50, "half");
        let second = fill("second");
        assert_eq!(second.len(), 25, "half of what is left");
        assert_eq!(fill("greedy").len(), 0);
        let third = fill("third");
        assert!(third.len() > 10, "{}", third.len());
        drop(greedy);
        assert!(fill("fourth").len() > 25);
    }

    #[test]
    fn what_is_made_is_settled_by_its_size() {
        let budget = Budget::new(1_000, 9);
        let mut held = hold(&budget, "a");
        held.grow(100).unwrap();
        assert_eq!(held.reserve(5_000), 900, "as much as there is");
        assert!(!held.could_be_more());
        held.settle(300).unwrap();
        assert_eq!((held.bytes(), budget.used()), (400, 400));
        assert_eq!(held.reserve(50), 50);
        assert!(held.could_be_more());
        held.settle(60).unwrap();
        assert_eq!(held.bytes(), 460);
        assert_eq!(held.reserve(10), 10);
        assert_eq!(held.settle(10_000), Err(Full));
        assert_eq!((held.bytes(), budget.used()), (460, 460), "what was reserved is given back");
    }

    #[test]
    fn one_large_request_at_a_time_may_claim_the_rest() {
        let budget = Budget::new(800, 9);
        let mut tiny = hold(&budget, "tiny");
        tiny.grow(1).unwrap();
        let mut large = hold(&budget, "large");
        large.grow(100).unwrap();
        assert_eq!(large.reserve(600), 599, "all but an eighth, although there always is another request");
        assert!(!large.could_be_more(), "there will not be more");
        let mut second = hold(&budget, "second");
        second.grow(20).expect("others find room all the same");
        assert!(second.reserve(600) < 50 && second.could_be_more(), "one at a time");
        second.settle(10).unwrap();
        large.settle(300).unwrap();
        assert_eq!(second.reserve(600), 700 - 431, "the next one");
        drop(second);
        assert!(large.reserve(600) > 200, "and again");
    }

    #[test]
    fn places_are_shared_out_too() {
        let budget = Budget::new(1_000, 8);
        let queued = |tenant: &str| {
            let mut held = hold(&budget, tenant);
            held.enqueue().map(|()| held)
        };
        // The first one is alone, and the others leave as many free as they hold.
        let mut greedy: Vec<Held> = std::iter::from_fn(|| queued("greedy").ok()).take(99).collect();
        assert!((3..=4).contains(&greedy.len()), "{}", greedy.len());
        assert!(queued("other").is_ok());
        greedy[0].dequeue();
        greedy[0].dequeue();
        let again = queued("greedy");
        assert!(again.is_ok(), "one went");
        drop((greedy, again));
        assert_eq!(budget.state().all, Share::default());
    }
}
