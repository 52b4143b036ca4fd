-- Days before this one were dropped (days since the Unix epoch): what comes of them is refused, because nobody knows any more
-- whether it is new, while the rollups may have it.
ALTER TABLE meta ADD COLUMN first_day INTEGER NOT NULL DEFAULT 0;
-- For how long the server keeps spans, in seconds, as it said last; NULL = never.
ALTER TABLE meta ADD COLUMN retention_s INTEGER;

-- Rollups without spans are of days that were dropped.
UPDATE meta SET first_day = kept.day
FROM (SELECT coalesce((SELECT min(day) FROM partition), (SELECT max(minute) / 1440 + 1 FROM rollup), 0) AS day) kept
WHERE EXISTS (SELECT 1 FROM rollup WHERE minute < kept.day * 1440);
