//! The schema, forward only: each step runs once, in order, in one transaction with the number that it reaches.

use std::path::Path;

use sqlx::{AssertSqlSafe, Row, SqliteConnection, raw_sql};

use super::{errors::failed, witness::State};
use crate::{Error, OpenError, Role};

/// `PRAGMA application_id` of our files ("NXAR").
const APPLICATION: i64 = 0x4e58_4152;

/// The rules of inference that made the rollups. Raised when a change makes the same spans contribute differently.
const RULES: i64 = 3;

/// The steps; step `n` leads to schema `n + 1`, which is `PRAGMA user_version`.
const STEPS: [&str; 8] = [
    include_str!("../../migrations/sqlite/0001_first.sql"),
    include_str!("../../migrations/sqlite/0002_life.sql"),
    include_str!("../../migrations/sqlite/0003_waiting.sql"),
    include_str!("../../migrations/sqlite/0004_keys.sql"),
    include_str!("../../migrations/sqlite/0005_turn.sql"),
    include_str!("../../migrations/sqlite/0006_links.sql"),
    include_str!("../../migrations/sqlite/0007_time.sql"),
    include_str!("../../migrations/sqlite/0008_kept.sql"),
];

/// What a database says of itself when it is opened.
pub(super) struct Prepared {
    /// Seed of the trace index.
    pub(super) seed: u64,
    /// Its rollups were made by older rules and have to be made anew before anything is added to them.
    pub(super) outdated: bool,
}

/// Makes the schema; upgrades one that is there as its server only.
pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    path: &Path,
    role: Role,
) -> Result<Prepared, OpenError> {
    // The usual case takes no lock: a command beside a busy server must not wait to look.
    let from = check(connection, path).await?;
    let (none, older) = (from == 0, (1..STEPS.len()).contains(&from));
    match role {
        Role::Owner if none || older => go_all_steps(connection, path).await?,
        Role::Guest if none => go_all_steps(connection, path).await?,
        Role::Guest if older => return Err(OpenError::Older(path.display().to_string())),
        Role::Observer if none => return Err(OpenError::Foreign(path.display().to_string())),
        // Whatever its rules are: the schema before theirs says nothing of them.
        Role::Observer if older => return Ok(Prepared { seed: seed_of(connection).await?, outdated: true }),
        _ => {}
    }
    let row = sqlx::query("SELECT rules FROM meta").fetch_one(&mut *connection).await.map_err(failed)?;
    let found: i64 = row.try_get(0).map_err(failed)?;
    if found > RULES {
        return Err(OpenError::NewerRules { found, known: RULES });
    }
    Ok(Prepared { seed: seed_of(connection).await?, outdated: found < RULES })
}

/// In one transaction, so that nobody meets a schema between two steps.
async fn go_all_steps(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(failed)?;
    // Once more, under the lock: another process may have been faster.
    let from = check(connection, path).await?;
    for (nth, step) in STEPS.iter().enumerate().skip(from) {
        raw_sql(*step).execute(&mut *connection).await.map_err(failed)?;
        if nth == 0 {
            found(connection).await?;
        }
    }
    note_rules_of_nothing(connection).await?;
    let mark = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {}", STEPS.len());
    raw_sql(AssertSqlSafe(mark)).execute(&mut *connection).await.map_err(failed)?;
    raw_sql("COMMIT").execute(&mut *connection).await.map_err(failed)?;
    Ok(())
}

/// Is the schema, and are the rules, what this program knows? A newer server may have been started since the file was opened.
pub(super) async fn is_ours(connection: &mut SqliteConnection) -> Result<bool, Error> {
    let query = sqlx::query("SELECT user_version, (SELECT rules FROM meta) FROM pragma_user_version");
    let row = query.fetch_one(connection).await.map_err(failed)?;
    let (version, rules): (i64, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    Ok(usize::try_from(version) == Ok(STEPS.len()) && rules == RULES)
}

/// Notes that all rollups are made by the rules of this program.
pub(super) async fn note_rules(connection: &mut SqliteConnection) -> Result<(), Error> {
    let query = sqlx::query("UPDATE meta SET rules = ?1").bind(RULES);
    query.execute(connection).await.map_err(failed)?;
    Ok(())
}

/// Where no tenant is, there is nothing that older rules could have made.
async fn note_rules_of_nothing(connection: &mut SqliteConnection) -> Result<(), Error> {
    let query = sqlx::query("UPDATE meta SET rules = ?1 WHERE NOT EXISTS (SELECT 1 FROM tenant)");
    query.bind(RULES).execute(connection).await.map_err(failed)?;
    Ok(())
}

/// Writes what makes a database different from any other.
async fn found(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let seed = i64::from_be_bytes(random()?);
    sqlx::query("INSERT INTO meta (one, epoch, seed, auth_version) VALUES (1, ?1, ?2, 1)")
        .bind(random::<16>()?.as_slice())
        .bind(seed)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Draws a new epoch when the file is a copy that a backup made, or an earlier state than the one noted beside it: what
/// caches remember of the database is of another one.
pub(super) async fn begin_anew_if_restored(
    connection: &mut SqliteConnection,
    noted: Option<State>,
) -> Result<(), OpenError> {
    let now = State::of(connection).await?;
    let set_back = noted.is_some_and(|noted| now.is_before(noted));
    let row = sqlx::query("SELECT copied FROM meta").fetch_one(&mut *connection).await.map_err(failed)?;
    let copied: bool = row.try_get(0).map_err(failed)?;
    if !copied && !set_back {
        return Ok(());
    }
    sqlx::query("UPDATE meta SET epoch = ?1, copied = 0")
        .bind(random::<16>()?.as_slice())
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn seed_of(connection: &mut SqliteConnection) -> Result<u64, OpenError> {
    let row = sqlx::query("SELECT seed FROM meta").fetch_one(connection).await.map_err(failed)?;
    Ok(row.try_get::<i64, _>(0).map_err(failed)?.cast_unsigned())
}

/// Replaces the epoch when it is the one that was seen, and returns the one in place.
pub(super) async fn replace_epoch(connection: &mut SqliteConnection, seen: u128) -> Result<u128, Error> {
    sqlx::query("UPDATE meta SET epoch = ?2 WHERE epoch = ?1")
        .bind(seen.to_be_bytes().as_slice())
        .bind(random::<16>()?.as_slice())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let row = sqlx::query("SELECT epoch FROM meta").fetch_one(connection).await.map_err(failed)?;
    epoch_of(row.try_get(0).map_err(failed)?)
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::Internal(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

/// The epoch as stored.
pub(super) fn epoch_of(bytes: &[u8]) -> Result<u128, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Internal("the epoch has a wrong length".to_owned()))?;
    Ok(u128::from_be_bytes(bytes))
}

/// The schema of the file, 0 when it is empty.
async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<usize, OpenError> {
    let number = async |connection: &mut SqliteConnection, sql: &'static str| -> Result<i64, Error> {
        sqlx::query(sql).fetch_one(connection).await.and_then(|row| row.try_get(0)).map_err(failed)
    };
    let application = number(connection, "PRAGMA application_id").await?;
    let found = number(connection, "PRAGMA user_version").await?;
    let objects = number(connection, "SELECT count(*) FROM sqlite_schema").await?;
    let empty = application == 0 && found == 0 && objects == 0;
    match usize::try_from(found) {
        Ok(_) if application != APPLICATION && !empty => Err(OpenError::Foreign(path.display().to_string())),
        Ok(found) if found <= STEPS.len() => Ok(found),
        _ => Err(OpenError::Newer { found, known: STEPS.len() }),
    }
}
