-- Live state: what is posted for each trace and from which blocks, and the counters of budgets. Amounts are whole
-- picounits of the organisation's currency as text. Folders of version 2 get these tables when they are opened.
CREATE INDEX blocks_by_digest ON blocks (digest);
CREATE TABLE live_traces (
    trace   INTEGER NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT;
CREATE TABLE live_blocks (
    trace   INTEGER NOT NULL,
    place   INTEGER NOT NULL,
    utc_day TEXT NOT NULL,
    lane    INTEGER NOT NULL,
    digest  BLOB NOT NULL,
    events  INTEGER NOT NULL,
    PRIMARY KEY (trace, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE live_posted (
    trace  INTEGER NOT NULL,
    scope  TEXT NOT NULL,
    period TEXT NOT NULL,
    pico   TEXT NOT NULL,
    PRIMARY KEY (trace, scope, period)
) STRICT, WITHOUT ROWID;
CREATE TABLE counters (
    scope  TEXT NOT NULL,
    period TEXT NOT NULL,
    pico   TEXT NOT NULL,
    PRIMARY KEY (scope, period)
) STRICT, WITHOUT ROWID;
