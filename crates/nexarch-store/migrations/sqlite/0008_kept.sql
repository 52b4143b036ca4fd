-- Days before this one were dropped (days since the Unix epoch): what comes of them is refused, because nobody knows any more
-- whether it is new, while the rollups may have it.
ALTER TABLE meta ADD COLUMN first_day INTEGER NOT NULL DEFAULT 0;
-- For how long the server keeps spans, in seconds, as it said last; NULL = never.
ALTER TABLE meta ADD COLUMN retention_s INTEGER;

-- Rollups older than all spans are of days that were dropped. Of days between the two nothing was ever stored.
UPDATE meta SET first_day = coalesce((
    SELECT max(minute) / 1440 + 1 FROM rollup
    WHERE minute < coalesce((SELECT min(day) * 1440 FROM partition), 9223372036854775807)), 0);
