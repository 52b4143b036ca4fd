//! API keys: what they look like, and whose they are.

mod secret;
mod uses;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nexarch_core::ids::TenantId;
use nexarch_store::{Error as StoreError, FoundKey, Scope, Store};

use secret::hash;
pub use secret::{Secret, create_key, rotate_key};
pub(crate) use uses::{Uses, run as tell_uses};

/// Most keys kept in memory; a scan of random keys must not fill it (unknown keys are never kept).
const MAX_CACHED: usize = 10_000;
/// Most unknown keys kept in memory, for a moment: a client with a wrong key asks again and again.
const MAX_UNKNOWN: usize = 10_000;
/// For how long, microseconds: a key that is made meanwhile is to be seen within a second even when nobody tells us.
const UNKNOWN_US: u64 = 1_000_000;

/// How long a key is looked for.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The tenant of the key: the only source of a tenant.
    pub tenant: TenantId,
    /// The same as a scope of the cache.
    pub scope: nexarch_cache::Scope,
    /// Public id of the key.
    pub key_id: String,
    /// When the tenant was created, microseconds since the Unix epoch: one of the same name that was made anew is
    /// another.
    pub tenant_created_us: u64,
    scopes: Vec<Scope>,
    proof: Proof,
}

/// What proves a caller: by it the key is found again, without its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Proof([u8; 32]);

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(****)")
    }
}

impl Caller {
    /// Tells callers apart by the secret that they sent: a key may have an old one beside its new one for a while.
    pub(crate) fn proof(&self) -> Proof {
        self.proof
    }

    /// A caller of this tenant, for tests of what is behind the keys.
    #[cfg(test)]
    pub(crate) fn of_tenant(tenant: TenantId) -> Self {
        let scope = nexarch_cache::Scope::new(tenant.as_str()).unwrap();
        Self {
            tenant,
            scope,
            key_id: "test".to_owned(),
            tenant_created_us: 0,
            scopes: Vec::new(),
            proof: Proof([0; 32]),
        }
    }

    /// May the key do this?
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Why a key is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not a key of this database.
    #[error("the API key is unknown")]
    Unknown,
    /// Its time is over.
    #[error("the API key has expired")]
    Expired,
    /// It was revoked.
    #[error("the API key was revoked")]
    Revoked,
    /// It has another secret now, and the time in which this one stayed good is over.
    #[error("the API key was replaced by a rotation")]
    Replaced,
    /// Its tenant is disabled.
    #[error("tenant {0} is disabled")]
    Disabled(TenantId),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds callers, remembering keys until the `auth_version` of the database moves.
pub struct Authenticator {
    store: Arc<dyn Store>,
    /// Of the database, moved by every change of tenants and keys, ours or another process's; back, too, when the database
    /// is set back.
    auth_version: Mutex<u64>,
    /// How often that moved: what was read in an earlier one is not believed.
    generation: AtomicU64,
    known: RwLock<Known>,
    unknown: Mutex<Unknown>,
    /// Keys are looked up one after the other: a flood of made-up ones must leave connections to those who read.
    turn: tokio::sync::Mutex<()>,
    /// When keys were last used.
    pub(crate) uses: Uses,
}

/// Keys that the database did not know, with the time until which that is believed.
#[derive(Default)]
struct Unknown {
    generation: u64,
    until_us: HashMap<[u8; 32], u64>,
}

#[derive(Default)]
struct Known {
    generation: u64,
    keys: HashMap<[u8; 32], Arc<Found>>,
}

struct Found {
    stored: FoundKey,
    caller: Arc<Caller>,
    used: Arc<uses::Use>,
}

impl Authenticator {
    /// Starts with nothing known.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            auth_version: Mutex::new(0),
            generation: AtomicU64::new(0),
            known: RwLock::default(),
            unknown: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            uses: Uses::default(),
        }
    }

    /// Tells that the database is at this `auth_version`: what was read before it was at another one is forgotten.
    /// Says whether it is news.
    pub fn observe(&self, auth_version: u64) -> bool {
        let mut known = self.auth_version.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *known != auth_version;
        if is_news {
            *known = auth_version;
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        is_news
    }

    /// The caller behind a key's text.
    pub async fn authenticate(&self, text: &str, now_us: u64) -> Result<Arc<Caller>, Refused> {
        self.find(hash(text), now_us).await
    }

    /// The same caller as it is now, or why it is not taken any more: for what goes on after its request was let in.
    pub async fn renew(&self, caller: &Caller, now_us: u64) -> Result<Arc<Caller>, Refused> {
        self.find(caller.proof.0, now_us).await
    }

    async fn find(&self, hash: [u8; 32], now_us: u64) -> Result<Arc<Caller>, Refused> {
        // Read before the database is asked, so that an answer overtaken by a change is not kept.
        let generation = self.generation.load(Ordering::Acquire);
        let found = match self.remembered(&hash, generation) {
            Some(found) => found,
            None => self.look_up(hash, generation, now_us).await?,
        };
        let Found { stored: FoundKey { key, tenant, replaced_until_us }, caller, used } = &*found;
        let over = |end: Option<u64>| end.is_some_and(|end| end <= now_us);
        if key.revoked_us.is_some() {
            Err(Refused::Revoked)
        } else if over(key.expires_us) {
            Err(Refused::Expired)
        } else if over(*replaced_until_us) {
            Err(Refused::Replaced)
        } else if !tenant.enabled {
            Err(Refused::Disabled(tenant.id.clone()))
        } else {
            used.note(now_us);
            Ok(Arc::clone(caller))
        }
    }

    /// Did the database just say that there is no such key?
    fn is_unknown(&self, hash: &[u8; 32], generation: u64, now_us: u64) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.generation == generation && unknown.until_us.get(hash).is_some_and(|until| now_us < *until)
    }

    fn note_unknown(&self, hash: [u8; 32], generation: u64, now_us: u64) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.generation < generation || unknown.until_us.len() >= MAX_UNKNOWN {
            unknown.until_us.clear();
            unknown.generation = generation.max(unknown.generation);
        }
        if unknown.generation == generation {
            unknown.until_us.insert(hash, now_us.saturating_add(UNKNOWN_US));
        }
    }

    fn remembered(&self, hash: &[u8; 32], generation: u64) -> Option<Arc<Found>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        (known.generation == generation).then(|| known.keys.get(hash).cloned()).flatten()
    }

    async fn look_up(&self, hash: [u8; 32], generation: u64, now_us: u64) -> Result<Arc<Found>, Refused> {
        if self.is_unknown(&hash, generation, now_us) {
            return Err(Refused::Unknown);
        }
        // Those who wait for their turn, too: of a silent database each would wait for all before it.
        let asked = tokio::time::timeout(LOOK_UP, self.ask(hash, generation, now_us)).await;
        asked.unwrap_or_else(|_elapsed| {
            let (reason, retry_after) = (format!("no key within {LOOK_UP:?}"), Duration::from_secs(1));
            Err(StoreError::Unavailable { reason, retry_after }.into())
        })
    }

    async fn ask(&self, hash: [u8; 32], generation: u64, now_us: u64) -> Result<Arc<Found>, Refused> {
        let _turn = self.turn.lock().await;
        // Somebody else may have asked for it meanwhile.
        if let Some(found) = self.remembered(&hash, generation) {
            return Ok(found);
        }
        if self.is_unknown(&hash, generation, now_us) {
            return Err(Refused::Unknown);
        }
        let Some(stored) = self.store.find_key(&hash).await? else {
            self.note_unknown(hash, generation, now_us);
            return Err(Refused::Unknown);
        };
        let FoundKey { key, tenant, .. } = &stored;
        let scope = nexarch_cache::Scope::new(tenant.id.as_str())
            .map_err(|error| StoreError::Internal(format!("tenant {}: {error}", tenant.id)))?;
        let caller = Caller {
            tenant: tenant.id.clone(),
            scope,
            key_id: key.id.clone(),
            tenant_created_us: tenant.created_us,
            scopes: key.scopes.clone(),
            proof: Proof(hash),
        };
        let used = self.uses.of(&key.id);
        let found = Arc::new(Found { stored, caller: Arc::new(caller), used });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.generation < generation || known.keys.len() >= MAX_CACHED {
            known.keys.clear();
            known.generation = generation.max(known.generation);
        }
        if known.generation == generation {
            known.keys.insert(hash, Arc::clone(&found));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
