CREATE TABLE chunk_{day} (
    id     INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    hour   INTEGER NOT NULL,
    spans  INTEGER NOT NULL,
    hot    BLOB NOT NULL,
    cold   BLOB NOT NULL
);
CREATE INDEX chunk_{day}_by_hour ON chunk_{day} (tenant, hour);
CREATE TABLE trace_{day} (
    tenant INTEGER NOT NULL,
    trace  INTEGER NOT NULL,
    chunk  INTEGER NOT NULL,
    spans  INTEGER NOT NULL,
    PRIMARY KEY (tenant, trace, chunk)
) WITHOUT ROWID;
INSERT INTO partition (day) VALUES ({day});
