//! The text of a key: drawn, shown once, and kept as a hash.

use std::fmt;

use nexarch_core::ids::TenantId;
use nexarch_store::{Error as StoreError, Key, NewKey, Rotation, Scope, Store};
use sha2::{Digest, Sha256};

/// How every key begins.
const PREFIX: &str = "nex_";
/// Base-62 digits of 256 random bits.
const SECRET_DIGITS: usize = 43;
/// Base-62 digits of a public key id: 59 bits, enough to be unique among the keys of one database.
const ID_DIGITS: usize = 10;
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
    let secret = Secret::generate().map_err(no_chance)?;
    let id = format!("key_{}", random_digits::<ID_DIGITS>().map_err(no_chance)?);
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

/// Gives a key a new secret, whose text cannot be had again. The one it had stays good for `grace_us` microseconds.
pub async fn rotate_key(
    store: &dyn Store,
    key_id: &str,
    grace_us: u64,
    expires_us: Option<u64>,
) -> Result<(Key, Secret), StoreError> {
    let secret = Secret::generate().map_err(no_chance)?;
    let hash = hash(secret.expose());
    let rotation = Rotation { key_id: key_id.to_owned(), hash, grace_us, expires_us };
    Ok((store.rotate_key(rotation).await?, secret))
}

fn no_chance(error: getrandom::Error) -> StoreError {
    StoreError::Internal(format!("no random numbers: {error}"))
}

/// A key has 256 random bits, so one round of a fast hash is enough; a slow one would only cost every request.
pub(super) fn hash(text: &str) -> [u8; 32] {
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
