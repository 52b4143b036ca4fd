-- When a key last opened something, microseconds since the Unix epoch; told once a minute at most.
ALTER TABLE api_key ADD COLUMN last_used_us INTEGER;

-- Secrets that were replaced by a rotation, for as long as they are good. They go with their key.
CREATE TABLE old_secret (
    hash     BLOB PRIMARY KEY CHECK (length(hash) = 32),
    key      TEXT NOT NULL REFERENCES api_key (id) ON DELETE CASCADE,
    until_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX old_secret_by_key ON old_secret (key);
