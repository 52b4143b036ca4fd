//! `nexarch tenant`: who uses this server.

use std::sync::Arc;

use clap::Subcommand;
use nexarch_core::ids::TenantId;
use nexarch_store::{Store, Tenant};
use serde::Serialize;

use super::{block_on, output};
use crate::{authority, config::Config, gone};

/// Create, list, disable, enable and delete tenants
#[derive(Subcommand)]
#[command(after_help = "Example:\n  nexarch tenant create acme --name \"Acme Inc.\"")]
pub(super) enum Command {
    /// Create a tenant
    #[command(after_help = "Example:\n  nexarch tenant create acme --name \"Acme Inc.\"")]
    Create {
        /// a-z, 0-9, '_' and '-'; at most 63 characters
        id: TenantId,
        /// Display name; the id when left out
        #[arg(long)]
        name: Option<String>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// List all tenants
    #[command(after_help = "Example:\n  nexarch tenant list --json")]
    List {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse all reads and writes of a tenant
    #[command(after_help = "Example:\n  nexarch tenant disable acme")]
    Disable {
        /// The tenant
        id: TenantId,
    },
    /// Undo disable
    #[command(after_help = "Example:\n  nexarch tenant enable acme")]
    Enable {
        /// The tenant
        id: TenantId,
    },
    /// Delete a tenant with its spans, rollups and keys
    #[command(after_help = "Example:\n  nexarch tenant delete acme --yes")]
    Delete {
        /// The tenant
        id: TenantId,
        /// Really delete: this cannot be undone
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    name: &'a str,
    enabled: bool,
    created_at: String,
}

impl<'a> From<&'a Tenant> for Row<'a> {
    fn from(tenant: &'a Tenant) -> Self {
        let created_at = output::moment(tenant.created_us);
        Self { id: tenant.id.as_str(), name: &tenant.name, enabled: tenant.enabled, created_at }
    }
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    let config = output::configuration(std::collections::BTreeMap::new())?;
    output::start_logs(&config.log);
    block_on(async {
        let store = output::open_beside(&config).await?;
        let outcome = apply(&store, &config, command).await;
        store.close().await;
        outcome
    })
}

async fn apply(store: &Arc<dyn Store>, config: &Config, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { id, name, json } => {
            let tenant = store.create_tenant(&id, name.as_deref().unwrap_or(id.as_str())).await?;
            if json {
                output::json(&Row::from(&tenant))?;
            } else {
                println!("tenant {id} created; next: nexarch key create --tenant {id}");
            }
        }
        Command::List { json } => list(&store.tenants().await?, json)?,
        Command::Disable { id } => {
            store.set_tenant_enabled(&id, false).await?;
            authority::wait_one_lease().await;
            println!("tenant {id} disabled");
        }
        Command::Enable { id } => {
            store.set_tenant_enabled(&id, true).await?;
            authority::wait_one_lease().await;
            println!("tenant {id} enabled");
        }
        Command::Delete { id, yes: _ } => {
            store.delete_tenant(&id).await?;
            // It is gone for readers; its spans go in small steps, so that a server's writer comes in between.
            while store.purge().await?.next.is_some() {}
            authority::wait_one_lease().await;
            if let Err(error) = gone::clear_redis(config, store, &id).await {
                eprintln!("Redis: {error:#}; what it holds of the tenant stays there until it expires");
            }
            println!("tenant {id} deleted");
        }
    }
    Ok(())
}

fn list(tenants: &[Tenant], json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&tenants.iter().map(Row::from).collect::<Vec<_>>());
    }
    let row = |tenant: &Tenant| {
        let state = if tenant.enabled { "enabled" } else { "disabled" };
        [tenant.id.to_string(), tenant.name.clone(), state.to_owned(), output::moment(tenant.created_us)]
    };
    output::table(["TENANT", "NAME", "STATE", "CREATED"], &tenants.iter().map(row).collect::<Vec<_>>());
    Ok(())
}
