-- Rules by which the rollups were made: when they change, a contribution could not be taken back as it was added.
ALTER TABLE meta ADD COLUMN rules INTEGER NOT NULL DEFAULT 1;
-- 1 in a copy made by a backup: whoever opens it first draws a new epoch.
ALTER TABLE meta ADD COLUMN copied INTEGER NOT NULL DEFAULT 0;

-- The data version of the newest data, as against that of data that only were thinned out or dropped.
ALTER TABLE clock ADD COLUMN updated INTEGER NOT NULL DEFAULT 0;
UPDATE clock SET updated = data;

-- Cells of a grain: 1 minute, 5 minutes, 60 minutes; `minute` is where a cell begins. Blobs of one cell add up.
-- An hour that has a cell of 60 is complete in it, but for the cells of 1 that lie in it: what came later and waits to be
-- added. Its cells of 5, as long as there are any, say the same in more detail.
CREATE TABLE rollup_of_grains (
    tenant INTEGER NOT NULL,
    grain  INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    blob   BLOB NOT NULL,
    PRIMARY KEY (tenant, grain, minute, seq)
) WITHOUT ROWID;
INSERT INTO rollup_of_grains SELECT tenant, 1, minute, seq, blob FROM rollup;
DROP TABLE rollup;
ALTER TABLE rollup_of_grains RENAME TO rollup;

-- Spans accepted, by UTC day of their acceptance (days since the Unix epoch).
CREATE TABLE usage (
    tenant INTEGER NOT NULL,
    day    INTEGER NOT NULL,
    spans  INTEGER NOT NULL,
    PRIMARY KEY (tenant, day)
) WITHOUT ROWID;

-- Numbers of deleted tenants of which rows may be left, in any table with a column `tenant INTEGER`.
CREATE TABLE purge (
    number INTEGER PRIMARY KEY
);

-- Tables of dropped days, renamed to left_ID, that are emptied step by step.
CREATE TABLE leftover (
    id INTEGER PRIMARY KEY AUTOINCREMENT
);

-- Traces too large to be inferred again by every append. A row stays once a trace is large: from then on all its
-- spans are in identity_DAY.
CREATE TABLE large_trace (
    tenant   INTEGER NOT NULL,
    key      INTEGER NOT NULL,                            -- as in trace_DAY
    trace    BLOB NOT NULL CHECK (length(trace) = 16),
    newest   INTEGER NOT NULL,                            -- newest day of its spans; the row goes with that day
    settled  INTEGER NOT NULL,                            -- spans that contribute as one trace
    rounds   INTEGER NOT NULL DEFAULT 0,                  -- how often it was settled: late spans wait longer each time
    since_us INTEGER,                                     -- arrival of the first span that is not settled
    due_us   INTEGER,                                     -- when to settle; NULL = nothing to do
    PRIMARY KEY (tenant, key, trace)
) WITHOUT ROWID;
CREATE INDEX large_trace_due ON large_trace (due_us) WHERE due_us IS NOT NULL;

-- Chunks whose spans of a large trace contribute by a preview: as if each chunk were a trace. Such a chunk must not be
-- merged with others, or the preview could not be taken back.
CREATE TABLE preview (
    tenant INTEGER NOT NULL,
    trace  BLOB NOT NULL,
    day    INTEGER NOT NULL,
    chunk  INTEGER NOT NULL,
    spans  INTEGER NOT NULL,                              -- of that trace in that chunk, new versions of known ones too
    fresh  INTEGER NOT NULL,                              -- those that were not known
    PRIMARY KEY (tenant, trace, day, chunk)
) WITHOUT ROWID;
CREATE INDEX preview_by_day ON preview (day);

-- What a tenant should know of the spans that it sends, by name, since its creation.
CREATE TABLE diagnostic (
    tenant INTEGER NOT NULL,
    name   TEXT NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
