-- Pass on the names of messages that end: what one of p_given_up has named belongs to the first open
-- message that names the same, and to whoever is done with it. Returns the names that nobody has any
-- more: they are free until the message is replayed, or another names the same.
CREATE OR REPLACE FUNCTION {schema}.pass_on_names(p_ended bigint[], p_given_up bigint[])
RETURNS TABLE (org text, kind text, name text) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    -- Whoever gives up the owner of a name, and whoever ends one of its heirs, take the same lock.
    PERFORM FROM {schema}.names x
    WHERE (x.org, x.kind, x.name) IN (
        SELECT n.org, n.kind, n.name FROM {schema}.names n WHERE n.named_by = ANY (p_given_up)
        UNION ALL
        SELECT h.org, h.kind, h.name FROM {schema}.name_heirs h WHERE h.arrived = ANY (p_ended))
    ORDER BY x.org, x.kind, x.name FOR UPDATE;

    -- It was done in the line of whoever is done with it, whatever becomes of who named it before.
    UPDATE {schema}.names x SET line = m.line, named_by = m.arrived
    FROM {schema}.name_heirs h JOIN {schema}.inbox m ON m.arrived = h.arrived
    WHERE h.arrived = ANY (p_ended) AND h.arrived <> ALL (coalesce(p_given_up, '{}'))
      AND x.org = h.org AND x.kind = h.kind AND x.name = h.name;
    DELETE FROM {schema}.name_heirs h
    WHERE h.arrived = ANY (p_ended) AND h.arrived <> ALL (coalesce(p_given_up, '{}'));

    -- The former owner stays an heir: it may be replayed.
    WITH inherited AS (
        UPDATE {schema}.names x SET line = i.line, named_by = i.arrived
        FROM (
            SELECT DISTINCT ON (n.org, n.kind, n.name)
                   n.org, n.kind, n.name, n.named_by AS former, m.arrived, m.line
            FROM {schema}.names n
            JOIN {schema}.name_heirs h ON h.org = n.org AND h.kind = n.kind AND h.name = n.name
            JOIN {schema}.inbox m ON m.arrived = h.arrived
            WHERE n.named_by = ANY (p_given_up) AND m.arrived <> ALL (p_ended)
            ORDER BY n.org, n.kind, n.name, m.arrived
        ) i
        WHERE x.org = i.org AND x.kind = i.kind AND x.name = i.name
        RETURNING x.org, x.kind, x.name, x.named_by, i.former
    ), heir AS (
        DELETE FROM {schema}.name_heirs h USING inherited i
        WHERE h.org = i.org AND h.kind = i.kind AND h.name = i.name AND h.arrived = i.named_by
    )
    INSERT INTO {schema}.name_heirs (org, kind, name, arrived)
    SELECT i.org, i.kind, i.name, i.former FROM inherited i
    ON CONFLICT DO NOTHING;

    RETURN QUERY
    UPDATE {schema}.names x SET line = NULL WHERE x.named_by = ANY (p_given_up)
    RETURNING x.org, x.kind, x.name;
END $$;
