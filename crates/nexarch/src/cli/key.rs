//! `nexarch key`: what a tenant's applications and people present.

use clap::{Subcommand, ValueEnum};
use nexarch_core::ids::TenantId;
use nexarch_store::{Key, Scope, Store};
use serde::Serialize;

use super::{block_on, output};
use crate::{
    accounts::{self, KeyView, SecretView},
    auth, authority, lifecycle,
};

/// Create, list, rotate and revoke API keys
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
        #[arg(long, default_value = "", value_parser = accounts::name)]
        name: String,
        /// Life, such as 90d, 12h or 30m, or an RFC 3339 time; without it the key does not expire
        #[arg(long, value_parser = end)]
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
    /// Give a key a new secret and print it, once; the old one stays good for the grace
    #[command(after_help = "Example:\n  nexarch key rotate key_4fT9aQ21xy --grace 24h")]
    Rotate {
        /// Its id, as `key list` shows it
        key_id: String,
        /// How long the old secret stays good, such as 24h; 0 ends it at once. No earlier secret outlives it
        #[arg(long, value_parser = accounts::length)]
        grace: u64,
        /// A new end of the key, as when it is created; without it, its end stays
        #[arg(long, value_parser = end)]
        expires: Option<u64>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key at once
    #[command(after_help = "Example:\n  nexarch key revoke key_4fT9aQ21xy")]
    Revoke {
        /// Its id, as `key list` shows it
        key_id: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
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

#[derive(Serialize)]
struct Created<'a> {
    key_id: &'a str,
    tenant_id: &'a str,
    key: &'a str,
    scopes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
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
            let (key, secret) = auth::create_key(store, &tenant, &name, &scopes, expires).await?;
            if json {
                return output::json(&Created {
                    key_id: &key.id,
                    tenant_id: tenant.as_str(),
                    key: secret.expose(),
                    scopes: accounts::words(&key.scopes),
                    expires_at: key.expires_us.map(accounts::moment),
                });
            }
            println!("{}", secret.expose());
            eprintln!(
                "{} for tenant {tenant}, scopes {}; shown once",
                key.id,
                accounts::words(&key.scopes).join(", ")
            );
        }
        Command::List { tenant, json } => list(&store.keys(&tenant).await?, json)?,
        Command::Rotate { key_id, grace, expires, json } => {
            let now_us = lifecycle::now_us();
            let (key, secret) = auth::rotate_key(store, &key_id, grace, expires).await?;
            authority::wait_one_lease().await;
            let answer = SecretView::new(&key, &secret, now_us);
            if json {
                return output::json(&answer);
            }
            println!("{}", answer.key);
            let old = match answer.old_secret_valid_until {
                Some(end) => format!("is good until {end}"),
                None => "is refused".to_owned(),
            };
            eprintln!("{} has a new secret, shown once; the old one {old}", key.id);
        }
        Command::Revoke { key_id, json } => {
            let key = store.revoke_key(&key_id).await?;
            authority::wait_one_lease().await;
            if json {
                return output::json(&KeyView::new(&key, lifecycle::now_us(), None));
            }
            println!("{} of tenant {} revoked", key.id, key.tenant);
        }
    }
    Ok(())
}

fn list(keys: &[Key], json: bool) -> anyhow::Result<()> {
    let now_us = lifecycle::now_us();
    let views = keys.iter().map(|key| KeyView::new(key, now_us, None));
    if json {
        return output::json(&views.collect::<Vec<_>>());
    }
    let row = |key: KeyView| {
        let state = state(&key);
        // A server that runs tells of uses once a minute: that it told of none does not mean that there is none.
        let used = key.last_used_at.unwrap_or_else(|| "-".to_owned());
        [key.key_id, key.name, key.scopes.join(","), key.created_at, used, state]
    };
    output::table(
        ["KEY", "NAME", "SCOPES", "CREATED", "LAST USED", "STATE"],
        &views.map(row).collect::<Vec<_>>(),
    );
    Ok(())
}

fn state(key: &KeyView) -> String {
    let at = |moment: &Option<String>| moment.clone().unwrap_or_default();
    let mut state = match key.state {
        "revoked" => format!("revoked {}", at(&key.revoked_at)),
        "expired" => format!("expired {}", at(&key.expires_at)),
        _ if key.expires_at.is_some() => format!("valid until {}", at(&key.expires_at)),
        _ => "valid".to_owned(),
    };
    if let Some(end) = &key.old_secret_valid_until {
        state = format!("{state}, old secret until {end}");
    }
    state
}

/// The end of a key's life, microseconds since the Unix epoch.
fn end(text: &str) -> Result<u64, String> {
    accounts::end(text, lifecycle::now_us())
}
