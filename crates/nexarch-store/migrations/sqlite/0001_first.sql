-- One row: what the whole database is.
CREATE TABLE meta (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    epoch        BLOB NOT NULL CHECK (length(epoch) = 16), -- random: tells this database from any other, and from itself before it was restored
    seed         INTEGER NOT NULL,                         -- random, drawn once: of the keys of the trace index
    auth_version INTEGER NOT NULL                          -- grows with every change of tenants and keys
);

-- Numbers are never given twice, so that nothing remembered of a deleted tenant can meet a new one.
CREATE TABLE tenant (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    enabled    INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    spans      INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    traces     INTEGER NOT NULL DEFAULT 0,
    oldest_ns  INTEGER,                                    -- 64 bits without sign, stored as the same bits
    newest_ns  INTEGER
);

-- Outlives its tenant: a re-created one goes on from here. Microseconds, only growing.
CREATE TABLE clock (
    tenant      TEXT PRIMARY KEY,
    clock       INTEGER NOT NULL DEFAULT 0,
    data        INTEGER NOT NULL DEFAULT 0,
    all_version INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE scope_version (
    tenant    TEXT NOT NULL,
    operation TEXT NOT NULL,
    version   INTEGER NOT NULL,
    PRIMARY KEY (tenant, operation)
) WITHOUT ROWID;

CREATE TABLE api_key (
    id         TEXT PRIMARY KEY,
    tenant     INTEGER NOT NULL REFERENCES tenant (number) ON DELETE CASCADE,
    hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    name       TEXT NOT NULL,
    scopes     INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    expires_us INTEGER,
    revoked_us INTEGER
) WITHOUT ROWID;
CREATE INDEX api_key_by_tenant ON api_key (tenant);

-- Days since the Unix epoch that have a pair of tables, chunk_DAY and trace_DAY; made when their first span comes.
CREATE TABLE partition (
    day INTEGER PRIMARY KEY
);

-- The blobs of a minute add up. Each append adds one; several are merged into one now and then.
CREATE TABLE rollup (
    tenant INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    blob   BLOB NOT NULL,
    PRIMARY KEY (tenant, minute, seq)
) WITHOUT ROWID;
