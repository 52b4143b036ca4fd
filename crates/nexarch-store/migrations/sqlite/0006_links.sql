-- Which traces link into which others, by their keys in trace_DAY: when spans come for one of the two, the other one is
-- looked at again. A row goes with the day of the linking span.
CREATE TABLE link (
    tenant INTEGER NOT NULL,
    target INTEGER NOT NULL,
    source INTEGER NOT NULL,
    day    INTEGER NOT NULL,
    PRIMARY KEY (tenant, target, source)
) WITHOUT ROWID;
CREATE INDEX link_by_source ON link (tenant, source);
CREATE INDEX link_by_day ON link (day);

-- A trace with links, or that others link to, keeps its row here, so that all its spans are settled: nobody else knows the
-- other ends. `wakes` is 0 without links, and grows when something comes for an other end.
ALTER TABLE large_trace ADD COLUMN wakes INTEGER NOT NULL DEFAULT 0;
-- Facts of the spans at the other ends with which it contributes; NULL = none.
ALTER TABLE large_trace ADD COLUMN ends BLOB;
-- How often it was written by a settling, to notice another one.
ALTER TABLE large_trace ADD COLUMN turns INTEGER NOT NULL DEFAULT 0;
