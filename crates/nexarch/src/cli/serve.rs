//! `nexarch serve`: the server.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use anyhow::Context;
use nexarch_core::ids::TenantId;
use nexarch_store::{Scope, Store};

use super::{block_on, output};
use crate::{
    app::Server,
    auth::{self, Secret},
    authority,
    config::{self, Config},
    lifecycle::{DRAIN_LIMIT, DRAIN_NOTICE, FLUSH_LIMIT, Lifecycle},
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
    // Dropped last, behind the runtime: what it still has to send, it sends then.
    let _traces = output::start_logs_and_traces(&config)?;
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
    if first_key.is_some() {
        // Else the beat would find it, and write down that another process had made it.
        authority::notice(&server.app, true).await?;
    }
    say(&server.cache_line)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    say(&format!("nexarch {} listening on {scheme}://{}", env!("CARGO_PKG_VERSION"), server.addr))?;
    for (what, addr) in [("OTLP/gRPC", server.otlp_grpc_addr), ("OTLP/HTTP", server.otlp_http_addr)] {
        if let Some(addr) = addr {
            say(&format!("{what} at {scheme}://{addr}"))?;
        }
    }
    if let Some(addr) = server.metrics_addr {
        say(&format!("metrics at {scheme}://{addr}/metrics"))?;
    }
    if let Some((key_id, key)) = first_key
        && let Err(error) = tell_first_key(&config, &key)
    {
        // A key that nobody saw must not be the reason that the next start shows none.
        store.revoke_key(&key_id).await?;
        return Err(error);
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
    {
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            signalled = signal => {
                signalled?;
                // Requests under way get their answers; one that never ends must not hold up the rest.
                tokio::time::timeout(DRAIN_NOTICE + DRAIN_LIMIT, serving).await.unwrap_or_else(|_| {
                    tracing::warn!("some requests did not end in time");
                });
            }
        }
    }
    if !lifecycle.finish(tokio::time::Instant::now() + FLUSH_LIMIT).await {
        tracing::warn!("some tasks did not end in time");
    }
    store.close().await;
    anyhow::ensure!(!lifecycle.has_failed(), "a task crashed; see the log");
    Ok(())
}

/// As long as there is no usable key at all: tenant `default` and one key with every scope, with its id.
pub(super) async fn first_key(store: &dyn Store) -> anyhow::Result<Option<(String, Secret)>> {
    let tenant: TenantId = FIRST_TENANT.parse()?;
    match store.tenants().await?.as_slice() {
        [] => drop(store.create_tenant(&tenant, FIRST_TENANT).await?),
        // An earlier start ended before its key was shown.
        [only]
            if only.id == tenant && store.keys(&tenant).await?.iter().all(|key| key.revoked_us.is_some()) => {
        }
        _ => return Ok(None),
    }
    let scopes = [Scope::Ingest, Scope::Read, Scope::Admin];
    let (key, secret) = auth::create_key(store, &tenant, "first key", &scopes, None).await?;
    Ok(Some((key.id, secret)))
}

/// On a terminal of this machine the key is shown; a server for others is likely to have its output collected.
fn tell_first_key(config: &Config, key: &Secret) -> anyhow::Result<()> {
    if config.is_loopback() {
        return say(&format!("API key for tenant {FIRST_TENANT} (shown once): {}", key.expose()));
    }
    let folder =
        config.database_url.file().and_then(|file| file.parent().map(PathBuf::from)).unwrap_or_default();
    let path = folder.join(FIRST_KEY_FILE);
    let cannot_write = || format!("cannot write {}", path.display());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(cannot_write);
        }
        _ => {}
    }
    // A new file of our own: an old one may be readable by others, or be a link to somewhere else.
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).with_context(cannot_write)?;
    writeln!(file, "{}", key.expose()).and_then(|()| file.sync_all()).with_context(cannot_write)?;
    say(&format!("API key for tenant {FIRST_TENANT} written to {}", path.display()))
}

/// One line on standard output; a closed one is an error, not a crash.
pub(super) fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output is closed")
}
