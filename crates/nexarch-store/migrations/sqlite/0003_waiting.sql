-- A trace waits to be settled without being large: its appends found no room to infer it. Its row goes when it is settled,
-- and only a trace that was ever too large to be loaded has all its spans in identity_DAY.
ALTER TABLE large_trace ADD COLUMN indexed INTEGER NOT NULL DEFAULT 1;

-- By tenant first: who waits is found tenant by tenant, so that none waits for all traces of another one.
DROP INDEX large_trace_due;
CREATE INDEX large_trace_due ON large_trace (tenant, due_us) WHERE due_us IS NOT NULL;
