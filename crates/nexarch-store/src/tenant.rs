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
}
