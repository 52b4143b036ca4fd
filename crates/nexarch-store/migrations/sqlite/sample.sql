-- Traces that analyses look at, whole: of each hour and entry operation those with the smallest hashes. A copy of facts that
-- stand in chunks, too, so that looking at hundreds of traces does not read thousands of chunks.
CREATE TABLE IF NOT EXISTS sample_{day} (
    id      INTEGER PRIMARY KEY,
    tenant  INTEGER NOT NULL,
    hour    INTEGER NOT NULL,
    hash    INTEGER NOT NULL, -- of the trace id
    stratum INTEGER NOT NULL, -- hash of the entry operation, and whether it failed
    spans   INTEGER NOT NULL,
    facts   BLOB NOT NULL     -- a hot block of that trace alone
);
CREATE INDEX IF NOT EXISTS sample_{day}_by_hash ON sample_{day} (tenant, hour, hash, stratum, spans);
