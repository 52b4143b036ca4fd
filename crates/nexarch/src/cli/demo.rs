//! `nexarch demo`: the same server on a temporary database, fed by a synthetic shop.

use std::{net::TcpListener, sync::Arc, time::Duration};

use anyhow::Context;

use super::{
    block_on, output,
    serve::{first_key, run_to_end},
};
use crate::{
    app::Server,
    authority,
    config::{self, Config},
    demo::{Shop, sender},
    lifecycle::{self, Lifecycle},
};

/// Ports tried when the usual one is taken.
const PORTS_TRIED: u16 = 100;
/// The shop is the same in every demo, so that a screenshot can be explained.
const SEED: u64 = 7;

/// Run a server on a temporary database, fed live by a synthetic shop
#[derive(clap::Args)]
#[command(after_help = "Example:\n  nexarch demo --for 30s")]
pub(super) struct Args {
    /// End after this time, such as 30s or 5m; without it Ctrl-C ends it
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    run_for: Option<Duration>,
    /// Port to listen on; without it 8000, or the next free one
    #[arg(long)]
    port: Option<u16>,
    /// Use the Redis that `REDIS_URL` or `REDIS_HOST` names; without it a demo uses none
    #[arg(long)]
    redis: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number with s, m or h, such as 30s".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(wrong()),
    };
    let number =
        number.parse::<u64>().ok().filter(|number| (1..=100_000).contains(number)).ok_or_else(wrong)?;
    Ok(Duration::from_secs(number * seconds))
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("nexarch-demo-").tempdir().context("no temporary folder")?;
    let database = format!("sqlite://{}", folder.path().join("demo.db").display());
    let flags =
        config::flags([("DATABASE_URL", Some(database)), ("PORT", args.port.map(|port| port.to_string()))]);
    let ignored: &[&str] =
        if args.redis { &["DATABASE_URL", "TLS_"] } else { &["REDIS_", "DATABASE_URL", "TLS_"] };
    let mut config = output::configuration_ignoring(flags, ignored)?;
    if args.redis && config.cache.redis.is_none() {
        anyhow::bail!("--redis needs REDIS_URL or REDIS_HOST, such as REDIS_URL=redis://localhost:6379");
    }
    output::start_logs(&config.log);
    if args.port.is_none() && config.port != 0 {
        config.port = free_port(&config)?;
    }
    let outcome = block_on(demo(config, args.run_for));
    folder.close().context("the temporary folder could not be removed")?;
    outcome
}

fn free_port(config: &Config) -> anyhow::Result<u16> {
    let free = |port: &u16| TcpListener::bind((config.host.as_str(), *port)).is_ok();
    let last = config.port.saturating_add(PORTS_TRIED);
    (config.port..=last).find(free).with_context(|| format!("no free port from {} to {last}", config.port))
}

async fn demo(config: Config, run_for: Option<Duration>) -> anyhow::Result<()> {
    let store = output::open_as_owner(&config).await?;
    let lifecycle = Lifecycle::default();
    let server = Server::start(&config, Arc::clone(&store), lifecycle.clone()).await?;
    let (_, key) = first_key(&*store).await?.context("the temporary database is not empty")?;
    // Else the beat would find it, and write down that another process had made it.
    authority::notice(&server.app, true).await?;
    println!("{}", server.cache_line);
    println!("nexarch {} listening on http://{}", env!("CARGO_PKG_VERSION"), server.addr);
    println!("\nA shop of 12 services is running. Open\n\n  http://{}/#key={}\n", server.addr, key.expose());
    println!(
        "payments turns slow after 45 s and recovers 150 s later, every ten minutes. Ctrl-C ends the demo."
    );
    feed(&lifecycle, &server, key.expose().to_owned());
    if let Some(time) = run_for {
        let (drain, stop) = (lifecycle.drain().clone(), lifecycle.stop().clone());
        lifecycle.tracker().spawn(async move {
            stop.run_until_cancelled(tokio::time::sleep(time)).await;
            drain.cancel();
        });
    }
    run_to_end(server, &lifecycle, &*store).await
}

/// The shop sends over the real listener, like everybody else.
fn feed(lifecycle: &Lifecycle, server: &Server, key: String) {
    let (endpoint, drain) = (format!("http://{}", server.addr), lifecycle.drain().clone());
    lifecycle.tracker().spawn(async move {
        let shop = Shop::new(SEED, lifecycle::now_ns());
        if let Err(error) = sender::run(&endpoint, &key, &shop, drain, lifecycle::now_ns).await {
            tracing::error!(%error, "the shop cannot send");
        }
    });
}
