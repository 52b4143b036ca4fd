-- Work that all servers of a database do once for each time it is due; times are microseconds since the Unix epoch.
CREATE TABLE turn (
    work       TEXT PRIMARY KEY,
    due_us     INTEGER NOT NULL, -- the turn taken last
    owner      TEXT NOT NULL,
    expires_us INTEGER NOT NULL, -- its lease; who is not heard of until then lost it
    length_us  INTEGER NOT NULL, -- of that lease: it cannot end later than this from now, unless the clock was set back
    done       INTEGER NOT NULL
) WITHOUT ROWID;
