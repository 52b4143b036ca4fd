//! `nexarch tenant`: who uses this server.

use std::sync::Arc;

use clap::Subcommand;
use nexarch_core::ids::TenantId;
use nexarch_store::{Store, Tenant, TenantChange};
use serde::Serialize;

use super::{block_on, output};
use crate::{
    accounts::{self, TenantView},
    authority,
    config::Config,
    gone,
};

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
        #[arg(long, value_parser = accounts::name)]
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
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Undo disable
    #[command(after_help = "Example:\n  nexarch tenant enable acme")]
    Enable {
        /// The tenant
        id: TenantId,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a tenant with its spans, rollups and keys
    #[command(after_help = "Example:\n  nexarch tenant delete acme --yes")]
    Delete {
        /// The tenant
        id: TenantId,
        /// Really delete: this cannot be undone
        #[arg(long, required = true)]
        yes: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Deleted<'a> {
    tenant_id: &'a str,
    status: &'static str,
    /// `none` (no Redis is configured), `removed`, or `pending`: it goes when its time is over.
    redis: &'static str,
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
                output::json(&TenantView::from(&tenant))?;
            } else {
                println!("tenant {id} created; next: nexarch key create --tenant {id}");
            }
        }
        Command::List { json } => list(&store.tenants().await?, json)?,
        Command::Disable { id, json } => enable(&**store, &id, false, json).await?,
        Command::Enable { id, json } => enable(&**store, &id, true, json).await?,
        Command::Delete { id, yes: _, json } => {
            store.delete_tenant(&id).await?;
            // It is gone for readers; its spans go in small steps, so that a server's writer comes in between.
            while store.purge().await?.next.is_some() {}
            authority::wait_one_lease().await;
            let redis = gone::clear_redis(config, store, &id).await.unwrap_or_else(|error| {
                eprintln!("Redis: {error:#}; what it holds of the tenant stays there until it expires");
                "pending"
            });
            if json {
                output::json(&Deleted { tenant_id: id.as_str(), status: "success", redis })?;
            } else {
                println!("tenant {id} deleted");
            }
        }
    }
    Ok(())
}

async fn enable(store: &dyn Store, id: &TenantId, enabled: bool, json: bool) -> anyhow::Result<()> {
    let tenant = store.change_tenant(id, TenantChange { enabled: Some(enabled), name: None }).await?;
    authority::wait_one_lease().await;
    if json {
        return output::json(&TenantView::from(&tenant));
    }
    println!("tenant {id} {}", if enabled { "enabled" } else { "disabled" });
    Ok(())
}

fn list(tenants: &[Tenant], json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&tenants.iter().map(TenantView::from).collect::<Vec<_>>());
    }
    let row = |tenant: &Tenant| {
        let state = if tenant.enabled { "enabled" } else { "disabled" };
        [tenant.id.to_string(), tenant.name.clone(), state.to_owned(), accounts::moment(tenant.created_us)]
    };
    output::table(["TENANT", "NAME", "STATE", "CREATED"], &tenants.iter().map(row).collect::<Vec<_>>());
    Ok(())
}
