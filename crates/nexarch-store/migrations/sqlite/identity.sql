CREATE TABLE IF NOT EXISTS identity_{day} (
    tenant  INTEGER NOT NULL,
    trace   INTEGER NOT NULL,
    key     BLOB NOT NULL,
    version BLOB NOT NULL,
    PRIMARY KEY (tenant, trace, key)
) WITHOUT ROWID;
