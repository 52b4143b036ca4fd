//! `nexarch key`: what a tenant's applications and people present.

use clap::{Subcommand, ValueEnum};
use nexarch_core::ids::TenantId;
use nexarch_store::{Key, Scope, Store};
use serde::Serialize;

use super::{block_on, output};
use crate::{auth, authority, lifecycle};

/// Create, list and revoke API keys
#[derive(Subcommand)]
#[command(after_help = "Example:\n  nexarch key create --tenant acme --scope ingest")]
pub(super) enum Command {
    /// Create a key and print it, once
    #[command(after_help = "Example:\n  nexarch key create --tenant acme --scope ingest,read --expires 90d")]
    Create {
        /// Whose key
        #[arg(long)]
        tenant: TenantId,
        /// What it may do
        #[arg(long, value_delimiter = ',', default_value = "ingest,read")]
        scope: Vec<ScopeName>,
        /// Display name
        #[arg(long, default_value = "")]
        name: String,
        /// Life, such as 90d, 12h or 30m; without it the key does not expire
        #[arg(long, value_parser = life)]
        expires: Option<u64>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the keys of a tenant (never the secret)
    #[command(after_help = "Example:\n  nexarch key list --tenant acme")]
    List {
        /// Whose keys
        #[arg(long)]
        tenant: TenantId,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key at once
    #[command(after_help = "Example:\n  nexarch key revoke key_4fT9aQ21xy")]
    Revoke {
        /// Its id, as `key list` shows it
        key_id: String,
    },
}

/// Scopes as words.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ScopeName {
    /// Send spans
    Ingest,
    /// Read everything of the tenant
    Read,
    /// Manage the tenant's cache
    Admin,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Ingest => Self::Ingest,
            ScopeName::Read => Self::Read,
            ScopeName::Admin => Self::Admin,
        }
    }
}

fn words(scopes: &[Scope]) -> Vec<&'static str> {
    let word = |scope: &Scope| match scope {
        Scope::Ingest => "ingest",
        Scope::Read => "read",
        Scope::Admin => "admin",
    };
    scopes.iter().map(word).collect()
}

/// A life in microseconds.
fn life(text: &str) -> Result<u64, String> {
    let wrong = || "must be a number with d, h or m, such as 90d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        _ => return Err(wrong()),
    };
    let number =
        number.parse::<u64>().ok().filter(|number| (1..=1_000_000).contains(number)).ok_or_else(wrong)?;
    Ok(number * seconds * 1_000_000)
}

#[derive(Serialize)]
struct Created<'a> {
    key_id: &'a str,
    tenant_id: &'a str,
    key: &'a str,
    scopes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    key_id: &'a str,
    tenant_id: &'a str,
    name: &'a str,
    scopes: Vec<&'static str>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl<'a> From<&'a Key> for Row<'a> {
    fn from(key: &'a Key) -> Self {
        Self {
            key_id: &key.id,
            tenant_id: key.tenant.as_str(),
            name: &key.name,
            scopes: words(&key.scopes),
            created_at: output::moment(key.created_us),
            expires_at: key.expires_us.map(output::moment),
            revoked_at: key.revoked_us.map(output::moment),
        }
    }
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    let config = output::configuration(std::collections::BTreeMap::new())?;
    output::start_logs(&config.log);
    block_on(async {
        let store = output::open_beside(&config).await?;
        let outcome = apply(&*store, command).await;
        store.close().await;
        outcome
    })
}

async fn apply(store: &dyn Store, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { tenant, scope, name, expires, json } => {
            let mut scopes: Vec<Scope> = scope.into_iter().map(Scope::from).collect();
            scopes.sort_unstable();
            scopes.dedup();
            let expires_us = expires.map(|life| lifecycle::now_us() + life);
            let (key, secret) = auth::create_key(store, &tenant, &name, &scopes, expires_us).await?;
            if json {
                return output::json(&Created {
                    key_id: &key.id,
                    tenant_id: tenant.as_str(),
                    key: secret.expose(),
                    scopes: words(&key.scopes),
                    expires_at: key.expires_us.map(output::moment),
                });
            }
            println!("{}", secret.expose());
            eprintln!("{} for tenant {tenant}, scopes {}; shown once", key.id, words(&key.scopes).join(", "));
        }
        Command::List { tenant, json } => list(&store.keys(&tenant).await?, json)?,
        Command::Revoke { key_id } => {
            let key = store.revoke_key(&key_id).await?;
            authority::wait_one_lease().await;
            println!("{} of tenant {} revoked", key.id, key.tenant);
        }
    }
    Ok(())
}

fn list(keys: &[Key], json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&keys.iter().map(Row::from).collect::<Vec<_>>());
    }
    let row = |key: &Key| {
        let state = match (key.revoked_us, key.expires_us) {
            (Some(at), _) => format!("revoked {}", output::moment(at)),
            (None, Some(end)) if end <= lifecycle::now_us() => format!("expired {}", output::moment(end)),
            (None, Some(end)) => format!("valid until {}", output::moment(end)),
            (None, None) => "valid".to_owned(),
        };
        [
            key.id.clone(),
            key.name.clone(),
            words(&key.scopes).join(","),
            output::moment(key.created_us),
            state,
        ]
    };
    output::table(["KEY", "NAME", "SCOPES", "CREATED", "STATE"], &keys.iter().map(row).collect::<Vec<_>>());
    Ok(())
}
