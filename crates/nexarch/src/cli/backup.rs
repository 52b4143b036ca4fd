//! `nexarch backup`: the database in a file, while it is in use.

use std::path::PathBuf;

use serde::Serialize;

use super::{block_on, output};

/// Copy the database to a file while it is in use
#[derive(clap::Args)]
#[command(
    after_help = "Works beside a running server, which goes on reading and writing. The copy is checked; an existing file is never replaced.\nTo restore: stop the server, copy the file to where the database is (without -wal and -shm beside it), start the server.\n\nExample:\n  nexarch backup /backup/nexarch-monday.db"
)]
pub(super) struct Args {
    /// The file to make
    file: PathBuf,
    /// Where the data are, such as `sqlite:///var/lib/nexarch.db`
    #[arg(long)]
    database_url: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    file: &'a str,
    bytes: u64,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let config = output::configuration(crate::config::flags([("DATABASE_URL", args.database_url)]))?;
    output::start_logs(&config.log);
    let known = config.database_url.file().is_some_and(|file| file.exists());
    anyhow::ensure!(known, "there is no database yet; DATABASE_URL says where it is");
    let bytes = block_on(async {
        let store = output::open_to_look(&config).await?;
        let outcome = store.backup(&args.file).await;
        store.close().await;
        outcome?;
        Ok(std::fs::metadata(&args.file)?.len())
    })?;
    let file = args.file.display().to_string();
    if args.json {
        return output::json(&Made { file: &file, bytes });
    }
    println!("{file}: {bytes} bytes, checked");
    Ok(())
}
