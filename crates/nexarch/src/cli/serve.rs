//! `nexarch serve`: the server.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use anyhow::Context;
use nexarch_core::ids::TenantId;
use nexarch_store::{Scope, Store};

use super::{block_on, output};
use crate::{
    app::Server,
    auth::{self, Secret},
    config::{self, Config},
    lifecycle::{DRAIN_LIMIT, Lifecycle},
};

/// Name of the tenant that an empty database gets.
pub(super) const FIRST_TENANT: &str = "default";
/// Where the first key goes when the server listens to other machines.
const FIRST_KEY_FILE: &str = "nexarch-first-key";

/// Run the server
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  nexarch serve --port 8000\n\nEvery flag is also a variable (HOST, PORT, DATABASE_URL, …); see .env.example."
)]
pub(super) struct Args {
    /// Address to listen on; without it 127.0.0.1
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 picks one, without it 8000
    #[arg(long)]
    port: Option<String>,
    /// Where the data are, such as `sqlite:///var/lib/nexarch.db`
    #[arg(long)]
    database_url: Option<String>,
    /// Print the configuration, secrets as ****, and stop
    #[arg(long)]
    print_config: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let flags =
        config::flags([("HOST", args.host), ("PORT", args.port), ("DATABASE_URL", args.database_url)]);
    let config = output::configuration(flags)?;
    if args.print_config {
        print!("{}", config.print());
        return Ok(());
    }
    output::start_logs(&config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let store = output::open_as_owner(&config).await?;
    let lifecycle = Lifecycle::default();
    let server = Server::start(&config, std::sync::Arc::clone(&store), lifecycle.clone()).await?;
    let first_key = first_key(&*store).await?;
    println!("cache: In-memory cache initialized (no Redis configured)");
    println!("nexarch {} listening on http://{}", env!("CARGO_PKG_VERSION"), server.addr);
    if let Some(key) = first_key {
        tell_first_key(&config, &key)?;
    }
    run_to_end(server, &lifecycle, &*store).await
}

/// Serves until a signal, then drains; shared with the demo.
pub(super) async fn run_to_end(
    server: Server,
    lifecycle: &Lifecycle,
    store: &dyn Store,
) -> anyhow::Result<()> {
    let serving = server.run();
    let signal = lifecycle.wait_for_signal();
    let outcome = {
        tokio::pin!(serving);
        tokio::select! {
            outcome = &mut serving => outcome,
            signalled = signal => {
                signalled?;
                // Requests under way get their answers; one that never ends must not hold up the rest.
                tokio::time::timeout(DRAIN_LIMIT, serving).await.unwrap_or_else(|_| {
                    tracing::warn!("some requests did not end in time");
                    Ok(())
                })
            }
        }
    };
    if !lifecycle.finish(DRAIN_LIMIT).await {
        tracing::warn!("some tasks did not end in time");
    }
    store.close().await;
    outcome?;
    anyhow::ensure!(!lifecycle.has_failed(), "a task crashed; see the log");
    Ok(())
}

/// On an empty database: tenant `default` and one key with every scope.
pub(super) async fn first_key(store: &dyn Store) -> anyhow::Result<Option<Secret>> {
    if !store.tenants().await?.is_empty() {
        return Ok(None);
    }
    let tenant: TenantId = FIRST_TENANT.parse()?;
    store.create_tenant(&tenant, FIRST_TENANT).await?;
    let scopes = [Scope::Ingest, Scope::Read, Scope::Admin];
    let (_, secret) = auth::create_key(store, &tenant, "first key", &scopes, None).await?;
    Ok(Some(secret))
}

/// On a terminal of this machine the key is shown; a server for others is likely to have its output collected.
fn tell_first_key(config: &Config, key: &Secret) -> anyhow::Result<()> {
    if config.is_loopback() {
        println!("API key for tenant {FIRST_TENANT} (shown once): {}", key.expose());
        return Ok(());
    }
    let folder =
        config.database_url.file().and_then(|file| file.parent().map(PathBuf::from)).unwrap_or_default();
    let path = folder.join(FIRST_KEY_FILE);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{}", key.expose())?;
    println!("API key for tenant {FIRST_TENANT} written to {}", path.display());
    Ok(())
}
