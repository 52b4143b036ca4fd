//! The transaction that puts settled contributions in the place of previews.

use super::{
    super::{
        Sqlite, diagnostics,
        errors::failed,
        large::{DOUBLINGS, ENTRIES_PER_STATEMENT, QUIET_US, hex, json},
        rollup,
        versions::{self, Raise, signed, unsigned},
        writer::Tx,
    },
    Due, Written,
    chunks::Chunks,
    ends::{self, Ends},
};
use crate::{Error, UNREADABLE};

/// Removes the previews of tenant ?1 that ?2 lists: trace, day and chunk of each.
pub(in super::super) const FORGET_PREVIEWS: &str = "
    DELETE FROM preview WHERE tenant = ?1 AND (trace, day, chunk) IN
        (SELECT unhex(j.value ->> 0), j.value ->> 1, j.value ->> 2 FROM json_each(?2) j)";

impl Sqlite {
    /// Puts the settled contribution in the place of the previews. `damaged` chunks could not be read for it.
    pub(super) async fn replace(
        &self,
        tx: &mut Tx<'_>,
        due: &Due,
        batch: &[Chunks],
        (blobs, ends): (Vec<(u32, Vec<u8>)>, Vec<Ends>),
        damaged: u64,
    ) -> Result<Written, Error> {
        let exists = sqlx::query("SELECT 1 FROM tenant WHERE number = ?1").bind(due.tenant);
        if exists.fetch_optional(tx.on()?).await.map_err(failed)?.is_none() {
            return Ok(Written::Overtaken);
        }
        if !forget_previews(tx, due.tenant, batch).await? || !is_turn_of(tx, due.tenant, batch).await? {
            return Ok(Written::Overtaken);
        }
        ends::store(tx, due.tenant, ends).await?;
        let changed = !blobs.is_empty();
        rollup::add(tx.on()?, due.tenant, blobs).await?;
        if damaged > 0 {
            diagnostics::add(tx.on()?, due.tenant, UNREADABLE, damaged).await?;
        }
        let now = self.options.now_us();
        let stays = |chunks: &&Chunks| chunks.indexed || chunks.wakes > 0;
        let (large, small): (Vec<&Chunks>, Vec<&Chunks>) = batch.iter().partition(stays);
        if !forget_traces(tx, due.tenant, &small).await? {
            // Some have more previews, or became large, or linked, meanwhile.
            note_settled(tx, due.tenant, &small, now).await?;
        }
        note_settled(tx, due.tenant, &large, now).await?;
        if !changed {
            return Ok(Written::Same);
        }
        versions::raise(tx.on()?, &due.id, Raise::Data, now).await?;
        Ok(Written::Changed(versions::read(tx.on()?, &due.id).await?))
    }
}

/// Is what was read of traces with links what they contribute? Another settling without previews leaves no other trace.
async fn is_turn_of(tx: &mut Tx<'_>, tenant: i64, batch: &[Chunks]) -> Result<bool, Error> {
    let linked: Vec<&Chunks> = batch.iter().filter(|chunks| chunks.wakes > 0).collect();
    let mut found = 0;
    for some in linked.chunks(ENTRIES_PER_STATEMENT) {
        let entry = |it: &&Chunks| format!("[{},\"{}\",{}]", it.key, hex(&it.trace.to_bytes()), it.turns);
        let query = sqlx::query(
            "SELECT count(*) FROM json_each(?2) j CROSS JOIN large_trace l
             ON l.tenant = ?1 AND l.key = j.value ->> 0 AND l.trace = unhex(j.value ->> 1)
             WHERE l.turns = j.value ->> 2",
        );
        let query = query.bind(tenant).bind(json(some.iter().map(entry)));
        found += unsigned(&query.fetch_one(tx.on()?).await.map_err(failed)?, 0)?;
    }
    Ok(found == linked.len() as u64)
}

/// Removes what was previewed; false when some of it is gone already.
async fn forget_previews(tx: &mut Tx<'_>, tenant: i64, batch: &[Chunks]) -> Result<bool, Error> {
    let mut all = Vec::new();
    for chunks in batch {
        let trace = hex(&chunks.trace.to_bytes());
        let places = chunks.now.keys().chain(&chunks.gone);
        all.extend(places.map(|(day, chunk)| format!("[\"{trace}\",{day},{chunk}]")));
    }
    for some in all.chunks(ENTRIES_PER_STATEMENT) {
        let query = sqlx::query(FORGET_PREVIEWS).bind(tenant).bind(json(some.iter().cloned()));
        let forgotten = query.execute(tx.on()?).await.map_err(failed)?.rows_affected();
        if forgotten != some.len() as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the traces of tenant ?1 that ?2 lists, by key and id, if they are small, have no links and wait no more.
pub(in super::super) const FORGET_TRACES: &str = "
    DELETE FROM large_trace WHERE tenant = ?1 AND (key, trace) IN
        (SELECT j.value ->> 0, unhex(j.value ->> 1) FROM json_each(?2) j)
    AND indexed = 0 AND wakes = 0
    AND NOT EXISTS (SELECT 1 FROM preview p WHERE p.tenant = ?1 AND p.trace = large_trace.trace)";

/// Small traces that were only waiting are like any other again; false when some still wait, or are large now.
async fn forget_traces(tx: &mut Tx<'_>, tenant: i64, batch: &[&Chunks]) -> Result<bool, Error> {
    let mut forgotten = 0;
    for some in batch.chunks(ENTRIES_PER_STATEMENT) {
        let entry = |chunks: &&Chunks| format!("[{},\"{}\"]", chunks.key, hex(&chunks.trace.to_bytes()));
        let query = sqlx::query(FORGET_TRACES).bind(tenant).bind(json(some.iter().map(entry)));
        forgotten += query.execute(tx.on()?).await.map_err(failed)?.rows_affected();
    }
    Ok(forgotten == batch.len() as u64)
}

/// Counts the spans that are settled now. What there was no room for stays due, and so comes next. What came meanwhile waits
/// like any spans that come for a settled trace: else one that never falls quiet would be settled without a pause.
async fn note_settled(tx: &mut Tx<'_>, tenant: i64, batch: &[&Chunks], now_us: u64) -> Result<(), Error> {
    for chunks in batch {
        sqlx::query(
            "UPDATE large_trace SET settled = settled + ?4, rounds = rounds + NOT ?5, turns = turns + 1,
                 since_us = iif(NOT w.waits, NULL, iif(?5, since_us, ?6)),
                 due_us = iif(NOT w.waits, NULL, iif(?5, due_us, ?6 + (?7 << min(rounds + 1, ?8))))
             FROM (SELECT EXISTS (SELECT 1 FROM preview WHERE tenant = ?1 AND trace = ?3)
                       OR EXISTS (SELECT 1 FROM large_trace
                                  WHERE tenant = ?1 AND key = ?2 AND trace = ?3 AND wakes <> ?9) AS waits) w
             WHERE tenant = ?1 AND key = ?2 AND trace = ?3",
        )
        .bind(tenant)
        .bind(chunks.key)
        .bind(chunks.trace.to_bytes().as_slice())
        .bind(chunks.fresh().cast_signed())
        .bind(chunks.left)
        .bind(signed(now_us))
        .bind(signed(QUIET_US))
        .bind(DOUBLINGS)
        .bind(signed(chunks.wakes))
        .execute(tx.on()?)
        .await
        .map_err(failed)?;
    }
    Ok(())
}
