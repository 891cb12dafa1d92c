-- Put messages back into their lines whose time to look again has come.
CREATE OR REPLACE FUNCTION {schema}.wake_looks(
    p_limit integer, p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_arrived bigint[];
    v_org text[];
    v_line text[];
BEGIN
    SELECT array_agg(d.arrived), array_agg(d.org), array_agg(d.line)
    INTO v_arrived, v_org, v_line
    FROM (SELECT m.arrived, m.org, m.line FROM {schema}.inbox m
          WHERE m.state = 'look' AND m.due_at <= at ORDER BY m.due_at LIMIT p_limit) d;
    IF v_arrived IS NULL THEN
        RETURN;
    END IF;
    PERFORM {schema}.lock_lines(v_org, v_line);
    -- What was moved before its line was locked is woken the next time.
    UPDATE {schema}.inbox m SET state = 'in_line'
    WHERE m.arrived = ANY (v_arrived) AND m.state = 'look' AND m.due_at <= at
      AND (m.org, m.line) IN (SELECT u.org, u.line FROM unnest(v_org, v_line) AS u (org, line));
    PERFORM {schema}.refresh_lines(v_org, v_line, at);
END $$;
