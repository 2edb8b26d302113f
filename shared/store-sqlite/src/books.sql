-- The books. Values are large, so they do not lie in the tree that names are found in: there every step would read some.
-- `until_s`: after this second since 1970 the record may be removed. Folders of version 5 get this table when they are opened.
CREATE TABLE books (
    "partition" TEXT NOT NULL,
    sort        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    until_s     INTEGER,
    value       TEXT NOT NULL,
    PRIMARY KEY ("partition", sort)
) STRICT;
CREATE INDEX books_until ON books (until_s) WHERE until_s IS NOT NULL;

-- For people with the sqlite3 shell.
CREATE VIEW v_books AS
    SELECT "partition", sort, version, length(value) AS characters, value FROM books;
-- The books by their meaning; of costs tells `recoup costs`. Amounts are exact decimals as text: CAST them only to look at them.
CREATE VIEW v_task_prices AS
    SELECT json_extract(s.value, '$.period') AS period, json_extract(p.value, '$.agent') AS agent,
           json_extract(p.value, '$.task_type') AS task_type, json_extract(p.value, '$.model') AS model,
           json_extract(p.value, '$.from') AS "from", json_extract(p.value, '$.to') AS "to",
           json_extract(p.value, '$.price') AS price, json_extract(p.value, '$.origin') AS origin
    FROM books s
    JOIN books b ON b."partition" = 'prices'
        AND b.sort >= json_extract(s.value, '$.period') || '/' || json_extract(s.value, '$.prices_run') || '/'
        AND b.sort < json_extract(s.value, '$.period') || '/' || json_extract(s.value, '$.prices_run') || '0'
    JOIN json_each(b.value) p
    WHERE s."partition" = 'settled';
CREATE VIEW v_ledger AS
    SELECT substr(b."partition", 8) AS period, b.sort AS "transaction", json_extract(e.value, '$.booked_at') AS booked_at,
           json_extract(e.value, '$.entry.account') AS account, json_extract(e.value, '$.entry.amount') AS amount
    FROM books b JOIN json_each(b.value) e
    WHERE b."partition" >= 'ledger/' AND b."partition" < 'ledger0';
CREATE VIEW v_statements AS
    SELECT json_extract(i.value, '$.period') AS period, json_extract(i.value, '$.team') AS team,
           json_extract(i.value, '$.statement') AS statement, json_extract(i.value, '$.revision') AS revision,
           json_extract(i.value, '$.total') AS total, json_extract(i.value, '$.mode') AS mode,
           json_extract(i.value, '$.digest') AS digest, json_extract(i.value, '$.issued_at') AS issued_at
    FROM books b JOIN json_each(json_extract(b.value, '$.statements')) i
    WHERE b."partition" = 'periods' AND json_extract(b.value, '$.state') = 'closed';
