//! API keys: what they look like, and whose they are.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use nexarch_core::ids::TenantId;
use nexarch_store::{Error as StoreError, Key, NewKey, Scope, Store, Tenant};
use sha2::{Digest, Sha256};

/// How every key begins.
const PREFIX: &str = "nex_";
/// Base-62 digits of 256 random bits.
const SECRET_DIGITS: usize = 43;
/// Base-62 digits of a public key id: 59 bits, enough to be unique among the keys of one database.
const ID_DIGITS: usize = 10;
/// Most keys kept in memory; a scan of random keys must not fill it (unknown keys are never kept).
const MAX_CACHED: usize = 10_000;
/// Most unknown keys kept in memory, for a moment: a client with a wrong key asks again and again.
const MAX_UNKNOWN: usize = 10_000;
/// For how long, microseconds: a key that is made meanwhile is to be seen within a second even when nobody tells us.
const UNKNOWN_US: u64 = 1_000_000;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The text of a key. Shown once, when it is made.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Draws a new key.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self(format!("{PREFIX}{}", random_digits::<SECRET_DIGITS>()?)))
    }

    /// The whole text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

/// Makes a key for a tenant, stores its hash and returns both. The text cannot be had again.
pub async fn create_key(
    store: &dyn Store,
    tenant: &TenantId,
    name: &str,
    scopes: &[Scope],
    expires_us: Option<u64>,
) -> Result<(Key, Secret), StoreError> {
    let random = |error: getrandom::Error| StoreError::Internal(format!("no random numbers: {error}"));
    let secret = Secret::generate().map_err(random)?;
    let id = format!("key_{}", random_digits::<ID_DIGITS>().map_err(random)?);
    let new = NewKey {
        tenant: tenant.clone(),
        hash: hash(secret.expose()),
        id,
        name: name.to_owned(),
        scopes: scopes.to_vec(),
        expires_us,
    };
    Ok((store.create_key(new).await?, secret))
}

/// A key has 256 random bits, so one round of a fast hash is enough; a slow one would only cost every request.
fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn random_digits<const N: usize>() -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(N);
    while text.len() < N {
        let mut bytes = [0u8; 64];
        getrandom::fill(&mut bytes)?;
        // 248 = 4 · 62: rejecting the rest keeps every digit equally likely.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        text.extend(fair.take(N - text.len()).map(|byte| char::from(DIGITS[usize::from(byte % 62)])));
    }
    Ok(text)
}

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
#[derive(Clone, Copy)]
struct Proof([u8; 32]);

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(****)")
    }
}

impl Caller {
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
    /// Its tenant is disabled.
    #[error("tenant {0} is disabled")]
    Disabled(TenantId),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds callers, remembering keys until `auth_version` moves.
pub struct Authenticator {
    store: Arc<dyn Store>,
    /// Raised by every change of tenants and keys, ours or another process's.
    auth_version: AtomicU64,
    known: RwLock<Known>,
    unknown: Mutex<Unknown>,
    /// Keys are looked up one after the other: a flood of made-up ones must leave connections to those who read.
    turn: tokio::sync::Mutex<()>,
}

/// Keys that the database did not know, with the time until which that is believed.
#[derive(Default)]
struct Unknown {
    auth_version: u64,
    until_us: HashMap<[u8; 32], u64>,
}

#[derive(Default)]
struct Known {
    auth_version: u64,
    keys: HashMap<[u8; 32], Arc<Found>>,
}

struct Found {
    key: Key,
    tenant: Tenant,
    caller: Arc<Caller>,
}

impl Authenticator {
    /// Starts with nothing known.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            auth_version: AtomicU64::new(0),
            known: RwLock::default(),
            unknown: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Tells that the database is at this `auth_version`: what was read before an older one is forgotten.
    /// Says whether it is news.
    pub fn observe(&self, auth_version: u64) -> bool {
        self.auth_version.fetch_max(auth_version, Ordering::AcqRel) < auth_version
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
        let version = self.auth_version.load(Ordering::Acquire);
        let found = match self.remembered(&hash, version) {
            Some(found) => found,
            None => self.look_up(hash, version, now_us).await?,
        };
        let Found { key, tenant, caller } = &*found;
        if key.revoked_us.is_some() {
            Err(Refused::Revoked)
        } else if key.expires_us.is_some_and(|end| end <= now_us) {
            Err(Refused::Expired)
        } else if !tenant.enabled {
            Err(Refused::Disabled(tenant.id.clone()))
        } else {
            Ok(Arc::clone(caller))
        }
    }

    /// Did the database just say that there is no such key?
    fn is_unknown(&self, hash: &[u8; 32], version: u64, now_us: u64) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.auth_version == version && unknown.until_us.get(hash).is_some_and(|until| now_us < *until)
    }

    fn note_unknown(&self, hash: [u8; 32], version: u64, now_us: u64) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.auth_version < version || unknown.until_us.len() >= MAX_UNKNOWN {
            unknown.until_us.clear();
            unknown.auth_version = version.max(unknown.auth_version);
        }
        if unknown.auth_version == version {
            unknown.until_us.insert(hash, now_us.saturating_add(UNKNOWN_US));
        }
    }

    fn remembered(&self, hash: &[u8; 32], version: u64) -> Option<Arc<Found>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        (known.auth_version == version).then(|| known.keys.get(hash).cloned()).flatten()
    }

    async fn look_up(&self, hash: [u8; 32], version: u64, now_us: u64) -> Result<Arc<Found>, Refused> {
        if self.is_unknown(&hash, version, now_us) {
            return Err(Refused::Unknown);
        }
        let _turn = self.turn.lock().await;
        // Somebody else may have asked for it meanwhile.
        if let Some(found) = self.remembered(&hash, version) {
            return Ok(found);
        }
        if self.is_unknown(&hash, version, now_us) {
            return Err(Refused::Unknown);
        }
        let Some((key, tenant)) = self.store.find_key(&hash).await? else {
            self.note_unknown(hash, version, now_us);
            return Err(Refused::Unknown);
        };
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
        let found = Arc::new(Found { key, tenant, caller: Arc::new(caller) });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.auth_version < version || known.keys.len() >= MAX_CACHED {
            known.keys.clear();
            known.auth_version = version.max(known.auth_version);
        }
        if known.auth_version == version {
            known.keys.insert(hash, Arc::clone(&found));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use nexarch_store::{Options, Role};

    use super::*;

    const NOW_US: u64 = 1_800_000_000_000_000;

    async fn store(folder: &tempfile::TempDir) -> Arc<dyn Store> {
        let url = format!("sqlite://{}", folder.path().join("a.db").display());
        let store = nexarch_store::open(&url, Options::new(Role::Owner, || NOW_US)).await.unwrap();
        store.create_tenant(&"acme".parse().unwrap(), "").await.unwrap();
        store
    }

    async fn make_key(store: &dyn Store, text: &str) {
        let key = NewKey {
            tenant: "acme".parse().unwrap(),
            hash: hash(text),
            id: format!("key_{text}"),
            name: String::new(),
            scopes: vec![Scope::Read],
            expires_us: None,
        };
        store.create_key(key).await.unwrap();
    }

    #[tokio::test]
    async fn an_unknown_key_is_asked_for_once_until_something_changes_or_a_second_passed() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let auth = Authenticator::new(Arc::clone(&store));
        auth.observe(store.versions(&[]).await.unwrap().auth_version);
        for text in ["a", "b"] {
            assert!(matches!(auth.authenticate(text, NOW_US).await, Err(Refused::Unknown)));
        }
        make_key(&*store, "a").await;
        make_key(&*store, "b").await;
        // The database knows them now, and is not asked.
        assert!(matches!(auth.authenticate("a", NOW_US + UNKNOWN_US - 1).await, Err(Refused::Unknown)));
        assert!(auth.authenticate("a", NOW_US + UNKNOWN_US).await.is_ok(), "a second passed");
        assert!(matches!(auth.authenticate("b", NOW_US).await, Err(Refused::Unknown)));
        auth.observe(store.versions(&[]).await.unwrap().auth_version);
        assert!(auth.authenticate("b", NOW_US).await.is_ok(), "keys were made");
        store.close().await;
    }

    #[tokio::test]
    async fn a_flood_of_unknown_keys_does_not_fill_the_memory() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let auth = Authenticator::new(Arc::clone(&store));
        for nth in 0..MAX_UNKNOWN + 10 {
            auth.note_unknown(hash(&nth.to_string()), 0, NOW_US);
        }
        assert_eq!(auth.unknown.lock().unwrap().until_us.len(), 10);
        store.close().await;
    }
}
