-- Verdicts on minutes, by hour (minutes since the Unix epoch): one bit for each minute, the first lowest. They outlive the
-- cells of minutes.
CREATE TABLE uptime (
    tenant INTEGER NOT NULL,
    scope  TEXT NOT NULL,    -- '' = all environments together, '=NAME' = one
    hour   INTEGER NOT NULL,
    seen   INTEGER NOT NULL, -- there were requests
    down   INTEGER NOT NULL, -- they were bad
    PRIMARY KEY (tenant, scope, hour)
) WITHOUT ROWID;

-- Incidents, as they are now; times are minutes since the Unix epoch.
CREATE TABLE incident (
    tenant INTEGER NOT NULL,
    id     TEXT NOT NULL,
    opened INTEGER NOT NULL,
    closed INTEGER,          -- NULL = open
    body   TEXT NOT NULL,    -- JSON
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX incident_by_time ON incident (tenant, opened);

-- What whoever looks for incidents remembers of a tenant.
CREATE TABLE watching (
    tenant   INTEGER NOT NULL,
    revision INTEGER NOT NULL, -- of two who looked at once only the first is taken
    state    TEXT NOT NULL,    -- JSON
    PRIMARY KEY (tenant)
) WITHOUT ROWID;
