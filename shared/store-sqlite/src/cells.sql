-- What the current nights have made of costs, as fine as queries ask: a night says what its rows are stored under.
CREATE VIEW v_cells AS
    SELECT json_extract(n.value, '$.day') AS day,
           json_extract(c.value, '$[0].team') AS team, json_extract(c.value, '$[0].project') AS project,
           json_extract(c.value, '$[0].agent') AS agent, json_extract(c.value, '$[0].task_type') AS task_type,
           json_extract(c.value, '$[0].kind') AS kind, json_extract(c.value, '$[0].provider') AS provider,
           json_extract(c.value, '$[0].model') AS model, json_extract(c.value, '$[0].item') AS item,
           json_extract(c.value, '$[0].pool') AS pool, json_extract(c.value, '$[1].cost') AS cost,
           json_extract(c.value, '$[1].quantity') AS quantity, json_extract(c.value, '$[1].events') AS events
    FROM books n
    JOIN books b ON b."partition" = 'facts/' || json_extract(n.value, '$.day') || '/' || printf('%03d', json_extract(n.value, '$.lane'))
        AND b.sort >= coalesce(json_extract(n.value, '$.rows'), json_extract(n.value, '$.run')) || '/cells/'
        AND b.sort < coalesce(json_extract(n.value, '$.rows'), json_extract(n.value, '$.run')) || '/cells0'
    JOIN json_each(b.value) c
    WHERE n."partition" = 'nights';
