//! What is told to those who keep a stream open: one room per tenant, with the latest events, bounded in every way.
//!
//! A stream is a hint to read: what a read contains rests on versions and never on what was told here. So an event may
//! be left out for a newer one, or for the word that some are missing, and nothing is lost.

mod event;
mod room;
mod subscription;
mod task;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nexarch_cache::{Cause, Scope};
use nexarch_core::ids::TenantId;
use nexarch_store::Versions;
use tokio::time::Instant;

use self::{event::CacheState, room::Room, subscription::Ticket};
pub(crate) use self::{
    event::{Event, IncidentNews, Invalidation, Version, Warm},
    subscription::Subscription,
    task::{observe, run},
};
use crate::auth::{Caller, Proof};

/// Open streams of all tenants. Each takes a connection, or a part of one, and some kilobytes.
const MAX_STREAMS: usize = 1_024;
/// Open streams of one tenant: half, so that one alone does not take them all.
const MAX_OF_TENANT: usize = MAX_STREAMS / 2;
/// Rooms that nobody is in, kept for those who come back.
const MAX_EMPTY: usize = 64;
/// How long they are kept.
const KEPT: Duration = Duration::from_mins(2);
/// When to come back after a refusal: streams are held for long.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(10);

/// All streams of this node.
#[derive(Debug)]
pub(crate) struct Hub {
    rooms: Mutex<Rooms>,
    /// How many rooms there are: where nobody listens, a commit costs one look at this.
    any: AtomicUsize,
}

#[derive(Debug)]
struct Rooms {
    by_tenant: HashMap<String, Place>,
    /// Streams that are open.
    open: usize,
    /// Rooms and tickets are numbered from here on, which is random, so that no other process has their names.
    next: u64,
}

/// A room and who is in it.
#[derive(Debug)]
struct Place {
    tenant: TenantId,
    /// When the tenant was created: one that was made anew gets a room of its own.
    created_us: u64,
    room: Arc<Room>,
    inside: BTreeMap<u64, Arc<Ticket>>,
    /// When the last one left.
    empty: Option<Instant>,
}

/// Why nobody is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
    /// Too many of this tenant.
    #[error("the tenant has {MAX_OF_TENANT} streams open, which is the most; close one")]
    Tenant,
    /// Too many of all.
    #[error("the server has {MAX_STREAMS} streams open, which is the most")]
    Server,
}

impl Hub {
    /// No room yet.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)?;
        let rooms = Rooms { by_tenant: HashMap::new(), open: 0, next: u64::from_le_bytes(seed) };
        Ok(Self { rooms: Mutex::new(rooms), any: AtomicUsize::new(0) })
    }

    /// Opens a stream that goes on after the event `last`; `known` is the newest version of the tenant.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        known: u64,
        last: Option<&str>,
    ) -> Result<Subscription, Crowded> {
        let mut rooms = self.rooms();
        if rooms.open >= MAX_STREAMS {
            return Err(Crowded::Server);
        }
        let number = rooms.next;
        rooms.next = number.wrapping_add(2);
        if rooms.is_of_an_earlier_tenant(caller) {
            let ticket = Arc::new(Ticket::new(number, Arc::clone(caller)));
            ticket.end(subscription::DELETED);
            rooms.open += 1;
            let room = Arc::new(Room::new(number.wrapping_add(1), known));
            return Ok(Subscription::new(Arc::clone(self), room, ticket, last));
        }
        let place = rooms.place(caller, number.wrapping_add(1), known);
        if place.inside.len() >= MAX_OF_TENANT {
            return Err(Crowded::Tenant);
        }
        let ticket = Arc::new(Ticket::new(number, Arc::clone(caller)));
        place.inside.insert(number, Arc::clone(&ticket));
        place.empty = None;
        let room = Arc::clone(&place.room);
        rooms.open += 1;
        self.any.store(rooms.by_tenant.len(), Ordering::Release);
        drop(rooms);
        Ok(Subscription::new(Arc::clone(self), room, ticket, last))
    }

    /// A stream ends.
    fn leave(&self, ticket: &Ticket) {
        let mut rooms = self.rooms();
        rooms.open -= 1;
        if let Some(place) = rooms.by_tenant.get_mut(ticket.caller.scope.as_str())
            && place.inside.remove(&ticket.number).is_some()
            && place.inside.is_empty()
        {
            place.empty = Some(Instant::now());
        }
    }

    /// A transaction of this process was committed that may have raised the version of a tenant's data.
    pub(crate) fn committed(&self, scope: &Scope, versions: &Versions, cause: Cause) {
        if let Some(room) = self.room(scope.as_str()) {
            room.version(Version { version: versions.data, cause: Some(cause) }, Instant::now());
        }
    }

    /// Values of a tenant were made old by hand.
    pub(crate) fn invalidated(&self, tenant: &TenantId, what: Invalidation) {
        if let Some(room) = self.room(tenant.as_str()) {
            room.event(&Event::Invalidation(what), Instant::now());
        }
    }

    /// Values of a tenant were computed before anybody asked.
    pub(crate) fn warmed(&self, tenant: &TenantId, what: Warm) {
        if let Some(room) = self.room(tenant.as_str()) {
            room.event(&Event::Warm(what), Instant::now());
        }
    }

    /// An incident of a tenant changed.
    pub(crate) fn incident(&self, tenant: &TenantId, news: IncidentNews) {
        if let Some(room) = self.room(tenant.as_str()) {
            room.event(&Event::Incident(news), Instant::now());
        }
    }

    /// Drops the room of a tenant that is gone, and sends away who is in it: one of the same name is another one.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        let mut rooms = self.rooms();
        if let Some(place) = rooms.by_tenant.remove(tenant.as_str()) {
            place.inside.values().for_each(|ticket| ticket.end(subscription::DELETED));
            place.room.wake();
        }
        self.any.store(rooms.by_tenant.len(), Ordering::Release);
    }

    /// Tells everybody that the cache works in another way.
    fn cache_changed(&self, state: &CacheState) {
        for (_, room) in self.all() {
            room.event(&Event::Cache(state.clone()), Instant::now());
        }
    }

    /// Tells what waited, and gives up rooms that nobody came back to.
    fn sweep(&self, now: Instant) {
        let mut rooms = self.rooms();
        rooms.by_tenant.values().for_each(|place| place.room.flush(now));
        rooms.by_tenant.retain(|_, place| place.empty.is_none_or(|since| now.duration_since(since) < KEPT));
        let mut empty: Vec<(Instant, String)> = rooms
            .by_tenant
            .iter()
            .filter_map(|(tenant, place)| Some((place.empty?, tenant.clone())))
            .collect();
        empty.sort_unstable();
        for (_, tenant) in empty.iter().rev().skip(MAX_EMPTY) {
            rooms.by_tenant.remove(tenant);
        }
        self.any.store(rooms.by_tenant.len(), Ordering::Release);
    }

    /// Who is in a room, once for each secret of a key.
    fn callers(&self) -> Vec<Arc<Caller>> {
        let rooms = self.rooms();
        let inside = rooms.by_tenant.values().flat_map(|place| place.inside.values());
        let by_secret: BTreeMap<Proof, &Arc<Caller>> =
            inside.map(|ticket| (ticket.caller.proof(), &ticket.caller)).collect();
        by_secret.into_values().cloned().collect()
    }

    /// Sends away who came with the secret of this caller.
    fn end(&self, caller: &Caller, words: &'static str) {
        let rooms = self.rooms();
        let Some(place) = rooms.by_tenant.get(caller.scope.as_str()) else { return };
        let same = place.inside.values().filter(|ticket| ticket.caller.proof() == caller.proof());
        same.for_each(|ticket| ticket.end(words));
        place.room.wake();
    }

    fn room(&self, tenant: &str) -> Option<Arc<Room>> {
        if self.any.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.rooms().by_tenant.get(tenant).map(|place| Arc::clone(&place.room))
    }

    fn all(&self) -> Vec<(TenantId, Arc<Room>)> {
        if self.any.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let rooms = self.rooms();
        rooms.by_tenant.values().map(|place| (place.tenant.clone(), Arc::clone(&place.room))).collect()
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    /// A request that was let in just before its tenant was deleted and made anew hears nothing of the new one.
    fn is_of_an_earlier_tenant(&self, caller: &Caller) -> bool {
        let place = self.by_tenant.get(caller.scope.as_str());
        place.is_some_and(|place| place.created_us > caller.tenant_created_us)
    }

    /// The place of the caller's tenant; a new one when there is none, or only one of an earlier tenant of this name.
    fn place(&mut self, caller: &Caller, name: u64, known: u64) -> &mut Place {
        let new = || Place {
            tenant: caller.tenant.clone(),
            created_us: caller.tenant_created_us,
            room: Arc::new(Room::new(name, known)),
            inside: BTreeMap::new(),
            empty: None,
        };
        let place = self.by_tenant.entry(caller.tenant.to_string()).or_insert_with(new);
        if place.created_us < caller.tenant_created_us {
            // Those inside hold keys that are gone; they are sent away here, because nobody finds them any more.
            place.inside.values().for_each(|ticket| ticket.end(subscription::DELETED));
            place.room.wake();
            *place = new();
        }
        place
    }
}

#[cfg(test)]
mod tests;
