//! `nexarch cache`: the cache API from a terminal.

mod answers;
mod api;
mod picture;
mod reports;
mod screen;
mod watch;

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use reqwest::{Method, Url};

use self::{
    answers::{Health, Invalidated, Stats, Warmed, parse},
    api::{Api, Call},
};
use super::{block_on, grid::Style, output};

/// How long a server may take for what it only looks up.
const ANSWER: Duration = Duration::from_secs(15);
/// How long it may compute: everything that there is, over the longest window.
const WARMING: Duration = Duration::from_mins(10);

/// Look into the cache of a running server, invalidate and warm it
#[derive(Subcommand)]
#[command(
    after_help = "The tenant is that of the API key in NEXARCH_API_KEY or in the file that --api-key-file names.\n\nExample:\n  NEXARCH_API_KEY=nex_… nexarch cache stats"
)]
pub(super) enum Command {
    /// Show what the cache did for the tenant on the answering node (scope read)
    #[command(after_help = "Example:\n  nexarch cache stats --url https://nexarch.example.com")]
    Stats {
        #[command(flatten)]
        server: Server,
        /// Print the answer of the API as it is
        #[arg(long)]
        json: bool,
    },
    /// Show where the cache is and how new its answers are (no key needed)
    #[command(after_help = "Example:\n  nexarch cache health")]
    Health {
        #[command(flatten)]
        server: Server,
        /// Print the answer of the API as it is
        #[arg(long)]
        json: bool,
    },
    /// Make values old: everything of the tenant, one operation, or those that match a pattern (scope admin)
    #[command(after_help = "Example:\n  nexarch cache invalidate --pattern 'service*'")]
    Invalidate {
        /// The operation, by its exact name; without it, and without a pattern, all
        #[arg(value_parser = operation)]
        operation: Option<String>,
        /// Operations by their names: * is any run of characters, ? any one
        #[arg(long, value_name = "GLOB", conflicts_with = "operation")]
        pattern: Option<String>,
        #[command(flatten)]
        server: Server,
        /// Print the answer of the API as it is
        #[arg(long)]
        json: bool,
    },
    /// Compute values before anybody asks for them (scope admin)
    #[command(after_help = "Example:\n  nexarch cache warm dashboard_overview --window 7d")]
    Warm {
        /// The operation, by its exact name; without it, all
        #[arg(value_parser = operation)]
        operation: Option<String>,
        /// The window: 15m, 1h, 6h, 24h, 7d or 30d; without it 24h
        #[arg(long)]
        window: Option<String>,
        /// The environment; without it, all together
        #[arg(long)]
        environment: Option<String>,
        #[command(flatten)]
        server: Server,
        /// Print the answer of the API as it is
        #[arg(long)]
        json: bool,
    },
    /// Watch what the cache does, live, until Ctrl-C (scope read)
    #[command(after_help = "Example:\n  nexarch cache watch --interval 1s")]
    Watch {
        #[command(flatten)]
        server: Server,
        /// Time between two looks, such as 2s or 1m
        #[arg(long, default_value = "2s", value_parser = interval)]
        interval: Duration,
        /// Print the statistics of each look as one line of JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which server, and as whom.
#[derive(clap::Args)]
pub(super) struct Server {
    /// Where the server listens
    #[arg(long, default_value = "http://127.0.0.1:8000", value_parser = api::base)]
    url: Url,
    /// File with the API key, in place of `NEXARCH_API_KEY`
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Certificates (PEM) to trust in place of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number with s or m from 1s to 60m, such as 2s".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number = number.parse::<u64>().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => number,
        "m" => number.saturating_mul(60),
        _ => return Err(wrong()),
    };
    if (1..=3_600).contains(&seconds) { Ok(Duration::from_secs(seconds)) } else { Err(wrong()) }
}

/// What stands in the path of a URL: without this, `..` would be everything.
fn operation(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || matches!(text, "." | "..") {
        return Err("must be a name, such as dashboard_overview".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    block_on(apply(command))
}

async fn apply(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Stats { server, json } => {
            let answer = Api::new(&server)?.send(&Call::get(&["stats"])).await?;
            if json {
                return output::print(&answer.body);
            }
            let stats: Stats = parse(&answer)?;
            output::print(&reports::stats(&stats, answer.at, Style::of_stdout(), screen::width()))
        }
        Command::Health { server, json } => {
            let answer = Api::without_key(&server)?.send(&Call::get(&["health"])).await?;
            if json {
                return output::print(&answer.body);
            }
            let health: Health = parse(&answer)?;
            output::print(&reports::health(&health, Style::of_stdout()))
        }
        Command::Invalidate { operation, pattern, server, json } => {
            let mut path = vec!["invalidate"];
            path.extend(operation.as_deref());
            let query = [("pattern", pattern.as_deref())];
            let call = Call { method: Method::DELETE, path: &path, query: &query, limit: ANSWER };
            let answer = Api::new(&server)?.send(&call).await?;
            if json {
                return output::print(&answer.body);
            }
            let done: Invalidated = parse(&answer)?;
            output::print(&reports::invalidated(&done, pattern.as_deref()))
        }
        Command::Warm { operation, window, environment, server, json } => {
            let mut path = vec!["warm"];
            path.extend(operation.as_deref());
            let query = [("window", window.as_deref()), ("environment", environment.as_deref())];
            let call = Call { method: Method::POST, path: &path, query: &query, limit: WARMING };
            let answer = Api::new(&server)?.send(&call).await?;
            if json {
                return output::print(&answer.body);
            }
            let warmed: Warmed = parse(&answer)?;
            output::print(&reports::warmed(&warmed, Style::of_stdout(), screen::width()))
        }
        Command::Watch { server, interval, json } => {
            let api = Api::new(&server)?;
            if json {
                watch::lines(&api, interval).await
            } else {
                watch::tables(&api, interval, &server.url).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_a_unit_and_bounds() {
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("60m"), Ok(Duration::from_hours(1)));
        for wrong in ["", "s", "2", "0s", "61m", "-1s", "2h", "1.5s", "99999999999999999999s", "1µ"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
