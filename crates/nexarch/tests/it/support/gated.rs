//! A store with a gate in front of reads: the real one behind, but a test says when, how slowly and whether it answers.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use nexarch_core::ids::TenantId;
use nexarch_store::{
    Appended, Batch, Error, FoundKey, Kept, Key, Looked, NewKey, Noted, Place, Retention, Rotation, Settling,
    Snapshot, Step, Store, Tenant, TenantChange, Truth, Turn, Versions,
};
use tokio::sync::{Semaphore, watch};

/// What a test does to the store.
pub(crate) struct Gate {
    /// Snapshots that may go on; closed when there are none.
    passes: Semaphore,
    closed: AtomicBool,
    away: AtomicBool,
    broken: AtomicBool,
    silent: watch::Sender<bool>,
    held: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
    delay_ms: AtomicU64,
    versions_ms: AtomicU64,
    /// Looks whether others wrote.
    pub(crate) looks: AtomicUsize,
    /// Snapshots that were asked for.
    pub(crate) asked: AtomicUsize,
    /// Snapshots that were opened.
    pub(crate) opened: AtomicUsize,
    inside: AtomicUsize,
    /// The most that were held at once.
    pub(crate) most: AtomicUsize,
}

impl Gate {
    fn new() -> Self {
        Self {
            passes: Semaphore::new(0),
            closed: AtomicBool::new(false),
            away: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            silent: watch::Sender::new(false),
            held: watch::Sender::new(false),
            stopped: watch::Sender::new(false),
            delay_ms: AtomicU64::new(0),
            versions_ms: AtomicU64::new(0),
            looks: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }
    }

    /// Snapshots are opened from now on, and handed out only when a pass is given.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Lets this many go on.
    pub(crate) fn pass(&self, count: usize) {
        self.passes.add_permits(count);
    }

    /// Every snapshot takes this long from now on.
    pub(crate) fn slow(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), SeqCst);
    }

    /// Every read of versions takes this long from now on.
    pub(crate) fn slow_versions(&self, delay: Duration) {
        self.versions_ms.store(u64::try_from(delay.as_millis()).unwrap(), SeqCst);
    }

    /// The database does not answer, or does again.
    pub(crate) fn away(&self, is: bool) {
        self.away.store(is, SeqCst);
    }

    /// The database takes questions and answers none, or answers them all.
    pub(crate) fn silence(&self, is: bool) {
        self.silent.send_replace(is);
    }

    /// Invalidations are committed and not answered, or all are.
    pub(crate) fn hold_invalidations(&self, is: bool) {
        self.held.send_replace(is);
    }

    /// No snapshot is opened, and who asks for one waits, or all are.
    pub(crate) fn stop_snapshots(&self, is: bool) {
        self.stopped.send_replace(is);
    }

    /// No snapshot can be had, or can again; everything else works.
    pub(crate) fn break_snapshots(&self, is: bool) {
        self.broken.store(is, SeqCst);
    }

    async fn there(&self) -> Result<(), Error> {
        // Who sends lives as long as the gate.
        let _ = self.silent.subscribe().wait_for(|is| !is).await;
        if self.away.load(SeqCst) { Err(cut_off()) } else { Ok(()) }
    }

    async fn readable(&self) -> Result<(), Error> {
        let _ = self.stopped.subscribe().wait_for(|is| !is).await;
        if self.broken.load(SeqCst) { Err(cut_off()) } else { self.there().await }
    }

    async fn hold(&self) {
        self.opened.fetch_add(1, SeqCst);
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(inside, SeqCst);
        if self.closed.load(SeqCst) {
            self.passes.acquire().await.unwrap().forget();
        }
        tokio::time::sleep(Duration::from_millis(self.delay_ms.load(SeqCst))).await;
        self.inside.fetch_sub(1, SeqCst);
    }
}

fn cut_off() -> Error {
    Error::Unavailable { reason: "cut off".to_owned(), retry_after: Duration::from_secs(1) }
}

/// The store behind the gate.
pub(crate) struct Gated {
    store: Arc<dyn Store>,
    gate: Arc<Gate>,
}

impl Gated {
    pub(crate) fn new(store: Arc<dyn Store>) -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate::new());
        (Self { store, gate: Arc::clone(&gate) }, gate)
    }
}

#[async_trait]
impl Store for Gated {
    async fn append(&self, batches: Vec<Batch>) -> Result<Vec<Result<Appended, Error>>, Error> {
        self.gate.there().await?;
        self.store.append(batches).await
    }

    async fn settle(&self, due_us: u64, only: Option<&TenantId>) -> Result<Settling, Error> {
        self.gate.there().await?;
        self.store.settle(due_us, only).await
    }

    async fn unsettled(&self) -> Result<u64, Error> {
        self.gate.there().await?;
        self.store.unsettled().await
    }

    async fn note(&self, counts: Vec<(TenantId, Vec<(&'static str, u64)>)>) -> Result<(), Error> {
        self.gate.there().await?;
        self.store.note(counts).await
    }

    /// Held after it was opened: what comes meanwhile is not in it.
    async fn snapshot(&self, tenant: &TenantId) -> Result<Box<dyn Snapshot>, Error> {
        self.gate.asked.fetch_add(1, SeqCst);
        self.gate.readable().await?;
        let snapshot = self.store.snapshot(tenant).await?;
        self.gate.hold().await;
        Ok(snapshot)
    }

    async fn versions(&self, tenants: &[TenantId]) -> Result<Truth, Error> {
        self.gate.there().await?;
        let read = self.store.versions(tenants).await;
        tokio::time::sleep(Duration::from_millis(self.gate.versions_ms.load(SeqCst))).await;
        read
    }

    async fn invalidate(&self, tenant: &TenantId, operations: Option<&[String]>) -> Result<Versions, Error> {
        self.gate.there().await?;
        let committed = self.store.invalidate(tenant, operations).await;
        let _ = self.gate.held.subscribe().wait_for(|is| !is).await;
        committed
    }

    async fn replace_epoch(&self, seen: u128) -> Result<u128, Error> {
        self.gate.there().await?;
        self.store.replace_epoch(seen).await
    }

    async fn note_incidents(&self, tenant: &TenantId, looked: Looked) -> Result<Noted, Error> {
        self.gate.there().await?;
        self.store.note_incidents(tenant, looked).await
    }

    async fn changed_by_others(&self) -> Result<bool, Error> {
        self.gate.looks.fetch_add(1, SeqCst);
        self.gate.there().await?;
        self.store.changed_by_others().await
    }

    fn sole_owner(&self) -> bool {
        self.store.sole_owner()
    }

    async fn create_tenant(&self, tenant: &TenantId, name: &str) -> Result<Tenant, Error> {
        self.store.create_tenant(tenant, name).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.store.tenants().await
    }

    async fn tenant(&self, tenant: &TenantId) -> Result<Tenant, Error> {
        self.store.tenant(tenant).await
    }

    async fn tenants_after(&self, after: Option<&TenantId>, limit: u32) -> Result<Vec<Tenant>, Error> {
        self.store.tenants_after(after, limit).await
    }

    async fn change_tenant(&self, tenant: &TenantId, change: TenantChange) -> Result<Tenant, Error> {
        self.store.change_tenant(tenant, change).await
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        self.store.delete_tenant(tenant).await
    }

    async fn purge(&self) -> Result<Step, Error> {
        self.store.purge().await
    }

    async fn compact(&self, from: Place) -> Result<Step, Error> {
        self.store.compact(from).await
    }

    async fn retain(&self, retention: Retention) -> Result<Step, Error> {
        self.store.retain(retention).await
    }

    async fn note_retention(&self, retention: Retention) -> Result<(), Error> {
        self.gate.there().await?;
        self.store.note_retention(retention).await
    }

    async fn kept(&self) -> Result<Kept, Error> {
        self.gate.there().await?;
        self.store.kept().await
    }

    async fn backup(&self, file: &Path) -> Result<(), Error> {
        self.store.backup(file).await
    }

    async fn create_key(&self, key: NewKey) -> Result<Key, Error> {
        self.store.create_key(key).await
    }

    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, Error> {
        self.store.keys(tenant).await
    }

    async fn keys_after(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Key>, Error> {
        self.store.keys_after(tenant, after, limit).await
    }

    async fn key(&self, tenant: &TenantId, key_id: &str) -> Result<Key, Error> {
        self.store.key(tenant, key_id).await
    }

    async fn rotate_key(&self, rotation: Rotation) -> Result<Key, Error> {
        self.store.rotate_key(rotation).await
    }

    async fn note_uses(&self, uses: &[(String, u64)]) -> Result<(), Error> {
        self.gate.there().await?;
        self.store.note_uses(uses).await
    }

    async fn revoke_key(&self, key_id: &str) -> Result<Key, Error> {
        self.store.revoke_key(key_id).await
    }

    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<FoundKey>, Error> {
        self.gate.there().await?;
        self.store.find_key(hash).await
    }

    async fn take_turn(&self, turn: &Turn<'_>, lease: Duration) -> Result<bool, Error> {
        // Another server looks for incidents: its snapshots are no reads of a test.
        if turn.work == "incidents" {
            return Ok(false);
        }
        self.gate.there().await?;
        self.store.take_turn(turn, lease).await
    }

    async fn end_turn(&self, turn: &Turn<'_>) -> Result<(), Error> {
        self.gate.there().await?;
        self.store.end_turn(turn).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.gate.there().await?;
        self.store.ping().await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, Error> {
        self.store.settings().await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
