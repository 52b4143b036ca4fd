//! The index of traces: in which chunks of a day a trace has spans.

use nexarch_core::ids::TraceId;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{errors::failed, trace_key};
use crate::{Error, chunk::MAX_SPANS};

/// Rows of the statements that add to the index: few different ones, so that they stay prepared. What is left of one is
/// filled with nothing. A chunk has no more traces than spans.
const ROWS: [usize; 4] = [16, 64, 256, MAX_SPANS];

/// Traces of a chunk by their keys, in the order of the index, with how many spans of each were not stored before. Two
/// traces with one key share an entry.
pub(super) fn entries(seed: u64, traces: &[(TraceId, u64)]) -> Vec<(i64, u64)> {
    let mut entries: Vec<(i64, u64)> =
        traces.iter().map(|(trace, fresh)| (trace_key(seed, *trace), *fresh)).collect();
    entries.sort_unstable();
    entries.dedup_by(|(key, fresh), (kept, sum)| {
        let same = key == kept;
        *sum += if same { *fresh } else { 0 };
        same
    });
    entries
}

/// Adds the [`entries`] of a chunk that is new, so nothing can be there already.
///
/// With OR ABORT, the default, `SQLite` would keep a copy of every page that the statement changes, lest one row of many be
/// refused; and it does so, whatever the statement says, when the rows come out of a function such as `json_each`. So they
/// are VALUES.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    tenant: i64,
    (day, chunk): (u64, i64),
    entries: Vec<(i64, u64)>,
) -> Result<(), Error> {
    for entries in entries.chunks(MAX_SPANS) {
        let rows = ROWS.into_iter().find(|rows| *rows >= entries.len()).unwrap_or(MAX_SPANS);
        // None by number: SQLite looks through all numbers for each, and the driver counts those without one by themselves.
        let values = vec!["(?, ?)"; rows].join(", ");
        let insert = format!(
            "INSERT OR ROLLBACK INTO trace_{day} (tenant, trace, chunk, spans)
             SELECT ?, column1, ?, column2 FROM (VALUES {values}) WHERE column1 IS NOT NULL"
        );
        let mut query = sqlx::query(AssertSqlSafe(insert)).bind(tenant).bind(chunk);
        for place in 0..rows {
            let entry = entries.get(place);
            query = query.bind(entry.map(|(key, _)| *key)).bind(entry.map(|(_, fresh)| fresh.cast_signed()));
        }
        query.execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Row};

    use super::*;
    use crate::suite::spans::trace_id;

    #[test]
    fn traces_with_one_key_share_an_entry() {
        let key = trace_key(7, trace_id(1));
        assert_eq!(entries(7, &[(trace_id(1), 2), (trace_id(1), 3)]), [(key, 5)]);
        let many: Vec<_> = (1..500).map(|number| (trace_id(number), number)).collect();
        let entries = entries(7, &many);
        assert!(entries.is_sorted() && entries.len() == 499);
    }

    #[tokio::test]
    async fn any_number_of_traces_is_indexed() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let tables = include_str!("../../migrations/sqlite/partition.sql").replace("{day}", "1");
        sqlx::raw_sql("CREATE TABLE partition (day INTEGER)").execute(&mut connection).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(tables)).execute(&mut connection).await.unwrap();
        for (chunk, count) in (1..).zip([0, 1, 15, 16, 17, 64, 65, 256, 257, 999, 1_000, 1_001, 2_500]) {
            let entries: Vec<_> = (0..count).map(|key: i64| (key - 3, 7 + key.cast_unsigned() % 2)).collect();
            add(&mut connection, 5, (1, chunk), entries.clone()).await.unwrap();
            let sql = "SELECT trace, spans FROM trace_1 WHERE tenant = 5 AND chunk = ?1 ORDER BY trace";
            let rows = sqlx::query(sql).bind(chunk).fetch_all(&mut connection).await.unwrap();
            let found: Vec<(i64, u64)> =
                rows.iter().map(|row| (row.get(0), row.get::<i64, _>(1).cast_unsigned())).collect();
            assert_eq!(found, entries, "{count}");
        }
    }
}
