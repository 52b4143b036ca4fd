//! What is kept of a sample.

use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::{fresh, open};
use crate::{
    Role,
    suite::{append, id, spans},
};

/// Traces that gave way are gone, also those of the very append in which they were drawn.
#[tokio::test]
async fn no_more_is_kept_than_is_drawn() {
    let (url, _dir) = fresh();
    let store = open(&url, Role::Guest).await;
    let tenant = id("acme");
    store.create_tenant(&tenant, "").await.unwrap();
    for first in [0, 400] {
        let traces = (first..first + 400).flat_map(|number| spans::trace(number, 3)).collect();
        append(&*store, &tenant, traces).await.unwrap();
    }
    store.close().await;
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let day = spans::BASE_NS / 86_400_000_000_000;
    let sql = format!("SELECT count(*) FROM sample_{day}");
    let kept: i64 = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut raw).await.unwrap().get(0);
    assert_eq!(usize::try_from(kept), Ok(nexarch_core::analysis::sample::KEPT));
    raw.close().await.unwrap();
}
