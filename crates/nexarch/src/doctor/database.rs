//! Whether the database can be opened, or made.

use std::{fs, path::Path, time::Duration};

use nexarch_store::{Options, Role, Store};
use tokio::time::{Instant, timeout};

use super::{Check, Status};
use crate::{config::Config, lifecycle};

/// How long the database may take to answer: a busy server lets others in within it.
const ANSWER: Duration = Duration::from_secs(30);

const NAME: &str = "database";

const UPGRADE: &str = "The next start of the server upgrades it, and there is no way back: make a backup first (nexarch backup FILE).";

pub(super) async fn check(config: &Config) -> Check {
    let began = Instant::now();
    let file = config.database_url.file().unwrap_or_default();
    // An empty file is made into a database by whoever opens it: that is left to the server.
    if fs::metadata(&file).is_ok_and(|found| found.len() > 0) {
        let (status, detail, advice) = match timeout(ANSWER, open(config, &file)).await {
            Ok(Ok((detail, false))) => (Status::Ok, detail, None),
            Ok(Ok((detail, true))) => {
                let detail = format!("{detail}, written by an older nexarch");
                (Status::Warning, detail, Some(UPGRADE.to_owned()))
            }
            Ok(Err(why)) => (Status::Failed, why, Some(advice_for_file(&file))),
            Err(_) => {
                let detail = format!("{} does not answer within {ANSWER:?}", file.display());
                (Status::Failed, detail, Some("Another process may hold it; end that one.".to_owned()))
            }
        };
        return Check { advice, ..Check::new(NAME, status, began.elapsed(), detail) };
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match tempfile::tempfile_in(folder) {
        Ok(_) => {
            let detail = format!("{} is not there yet: `nexarch serve` makes it", file.display());
            Check::new(NAME, Status::Ok, began.elapsed(), detail)
        }
        Err(error) => {
            let detail = format!("{} cannot be made: {}: {error}", file.display(), folder.display());
            Check::new(NAME, Status::Failed, began.elapsed(), detail).advise(
                "Make the folder, give this user the right to write there, or name another place in DATABASE_URL.",
            )
        }
    }
}

/// What is in it, and whether an older program wrote it.
async fn open(config: &Config, file: &Path) -> Result<(String, bool), String> {
    let options = Options::new(Role::Observer, lifecycle::now_us);
    let store = nexarch_store::open(config.database_url.expose(), options).await;
    let store = store.map_err(|error| error.to_string())?;
    let is_older = store.is_older();
    let asked = count(&*store).await;
    store.close().await;
    let tenants = asked.map_err(|error| error.to_string())?;
    let tenants = match tenants {
        0 => "no tenant yet".to_owned(),
        1 => "1 tenant".to_owned(),
        more => format!("{more} tenants"),
    };
    Ok((format!("{}, {tenants}", file.display()), is_older))
}

async fn count(store: &dyn Store) -> Result<usize, nexarch_store::Error> {
    store.ping().await?;
    Ok(store.tenants().await?.len())
}

fn advice_for_file(file: &Path) -> String {
    format!(
        "This user needs the right to read and write {} and its folder; a damaged file is put back from a backup.",
        file.display()
    )
}
