//! Tenants and their keys.

use nexarch_core::ids::TenantId;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its display name.
    pub name: String,
    /// Disabled tenants can neither read nor write.
    pub enabled: bool,
    /// Microseconds since the Unix epoch.
    pub created_us: u64,
}

/// What is changed of a tenant; `None` leaves it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantChange {
    /// Its display name.
    pub name: Option<String>,
    /// Whether it may read and write.
    pub enabled: Option<bool>,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Send spans.
    Ingest,
    /// Read everything of the tenant.
    Read,
    /// Manage the tenant's cache and settings.
    Admin,
}

/// A key to be stored.
pub struct NewKey {
    /// Whose key.
    pub tenant: TenantId,
    /// SHA-256 of the whole key text.
    pub hash: [u8; 32],
    /// Public id.
    pub id: String,
    /// Display name.
    pub name: String,
    /// What it may do; not empty.
    pub scopes: Vec<Scope>,
    /// End of life, microseconds since the Unix epoch.
    pub expires_us: Option<u64>,
}

/// A stored key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Public id.
    pub id: String,
    /// Whose key.
    pub tenant: TenantId,
    /// Display name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Microseconds since the Unix epoch.
    pub created_us: u64,
    /// End of life.
    pub expires_us: Option<u64>,
    /// When it was revoked.
    pub revoked_us: Option<u64>,
    /// When it last opened something, as far as the store was told ([`crate::Store::note_uses`]).
    pub last_used_us: Option<u64>,
    /// Until when the last of its replaced secrets is good; may have passed.
    pub grace_until_us: Option<u64>,
}

/// A key found by a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKey {
    /// The key.
    pub key: Key,
    /// Whose it is.
    pub tenant: Tenant,
    /// The secret was replaced by a rotation and is good until then, microseconds since the Unix epoch.
    pub replaced_until_us: Option<u64>,
}

/// A new secret for a key.
pub struct Rotation {
    /// Public id of the key.
    pub key_id: String,
    /// SHA-256 of the new key text.
    pub hash: [u8; 32],
    /// For how long the secret that is replaced stays good, microseconds. 0: not at all, nor any earlier one.
    pub grace_us: u64,
    /// A new end of life of the key; `None` leaves it as it is.
    pub expires_us: Option<u64>,
}
