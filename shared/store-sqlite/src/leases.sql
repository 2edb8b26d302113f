-- Leases: room that is reserved at the counters of a chain, and which of their reservations are settled. Amounts are whole
-- picounits as text. Folders of version 3 get these tables when they are opened.
CREATE TABLE reserved (
    scope  TEXT NOT NULL,
    period TEXT NOT NULL,
    pico   TEXT NOT NULL,
    PRIMARY KEY (scope, period)
) STRICT, WITHOUT ROWID;
CREATE TABLE leases (
    ends_minute INTEGER NOT NULL,
    id          INTEGER NOT NULL,
    granted     TEXT NOT NULL,
    free        TEXT NOT NULL,
    drawn       INTEGER NOT NULL,
    PRIMARY KEY (ends_minute, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE lease_counters (
    ends_minute INTEGER NOT NULL,
    id          INTEGER NOT NULL,
    scope       TEXT NOT NULL,
    period      TEXT NOT NULL,
    PRIMARY KEY (ends_minute, id, scope, period)
) STRICT, WITHOUT ROWID;
CREATE TABLE lease_settled (
    ends_minute INTEGER NOT NULL,
    id          INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    PRIMARY KEY (ends_minute, id, number)
) STRICT, WITHOUT ROWID;
