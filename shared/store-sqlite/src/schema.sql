-- Unsigned 64-bit fingerprints are stored as the signed integers of the same bits.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The event log. `bytes` is for the block codec; nothing is ever changed here.
CREATE TABLE blocks (
    seq     INTEGER NOT NULL PRIMARY KEY,
    utc_day TEXT NOT NULL,
    lane    INTEGER NOT NULL,
    digest  BLOB NOT NULL,
    codec   INTEGER NOT NULL,
    events  INTEGER NOT NULL,
    bytes   BLOB NOT NULL
) STRICT;
CREATE INDEX blocks_by_day ON blocks (utc_day, lane, seq);


-- Identity and content digest of the events of a block, 48 bytes each in their order, and a CRC-32 over the block's
-- digest and these. They follow from the block: a block may have none, and those of a closed month may be dropped.
CREATE TABLE block_prints (
    block    INTEGER NOT NULL PRIMARY KEY,
    checksum INTEGER NOT NULL,
    prints   BLOB NOT NULL
) STRICT;

-- Where each event is, and the first 16 bytes of its content digest: tells duplicates from conflicts (EVT-2).
CREATE TABLE event_index (
    trace  INTEGER NOT NULL,
    event  INTEGER NOT NULL,
    block  INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (trace, event)
) STRICT, WITHOUT ROWID;

-- UTC days (since 1970-01-01) of each trace.
CREATE TABLE trace_days (
    trace   INTEGER NOT NULL,
    utc_day INTEGER NOT NULL,
    lane    INTEGER NOT NULL,
    PRIMARY KEY (trace, utc_day)
) STRICT, WITHOUT ROWID;

-- The same for traces that have more than one day, by day.
CREATE TABLE split_traces (
    utc_day INTEGER NOT NULL,
    lane    INTEGER NOT NULL,
    trace   INTEGER NOT NULL,
    PRIMARY KEY (utc_day, lane, trace)
) STRICT, WITHOUT ROWID;

-- Uses of provider calls that are not in `responses` yet: 32 bytes each (response, trace, event, UTC day; big-endian).
-- Their fingerprints are random, so that single ones would each rewrite a page; they go there many at a time, sorted.
CREATE TABLE response_queue (
    seq  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    uses BLOB NOT NULL
) STRICT;

-- Events by the provider call that they name.
CREATE TABLE responses (
    response INTEGER NOT NULL,
    trace    INTEGER NOT NULL,
    event    INTEGER NOT NULL,
    utc_day  INTEGER NOT NULL,
    PRIMARY KEY (response, trace, event)
) STRICT, WITHOUT ROWID;

-- The provider calls that more than one event names, by each of the days of these events.
CREATE TABLE shared_responses (
    utc_day  INTEGER NOT NULL,
    response INTEGER NOT NULL,
    PRIMARY KEY (utc_day, response)
) STRICT, WITHOUT ROWID;

-- For people with the sqlite3 shell.
CREATE VIEW v_blocks AS
    SELECT seq, utc_day, lane, lower(hex(digest)) AS digest, codec, events, length(bytes) AS bytes FROM blocks;
CREATE VIEW v_days AS
    SELECT utc_day, lane, count(*) AS blocks, sum(events) AS events, sum(length(bytes)) AS bytes
    FROM blocks GROUP BY utc_day, lane;
