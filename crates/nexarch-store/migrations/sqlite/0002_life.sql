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
