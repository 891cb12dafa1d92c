-- Lock lines, in sorted order, until the transaction ends; also those that they are to be moved to.
-- A line without a row gets an empty one, which `refresh_lines` fills or deletes.
CREATE OR REPLACE FUNCTION {schema}.lock_lines(p_org text[], p_line text[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    INSERT INTO {schema}.lines AS l
        (org, line, state, head, head_place, head_route, priority, due_at)
    SELECT w.org, w.line, 'empty', 0, 0, '', 0, 'infinity' FROM (
        SELECT u.org, u.line FROM unnest(p_org, p_line) AS u (org, line)
        UNION
        SELECT m.org, m.moving_to FROM unnest(p_org, p_line) AS u (org, line)
        JOIN {schema}.lines m ON m.org = u.org AND m.line = u.line
        WHERE m.moving_to IS NOT NULL
    ) w
    ORDER BY w.org, w.line
    -- Locks the row without writing it.
    ON CONFLICT ON CONSTRAINT lines_pkey DO UPDATE SET head = l.head WHERE false;
END $$;
