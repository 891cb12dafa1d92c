-- End the wait of an open message by hand: it looks now, once more, and is given up under its own code
-- when it would still wait for the same fact. Returns whether it was open and nobody was at it.
CREATE OR REPLACE FUNCTION {schema}.end_wait(
    p_arrived bigint, p_by text, p_now timestamptz DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_org text[];
    v_line text[];
    v_found boolean;
BEGIN
    SELECT ARRAY[m.org], ARRAY[m.line] INTO v_org, v_line
    FROM {schema}.inbox m WHERE m.arrived = p_arrived;
    IF v_org IS NULL THEN
        RETURN false;
    END IF;
    PERFORM {schema}.lock_lines(v_org, v_line);
    WITH ended AS (
        UPDATE {schema}.inbox m
        SET last_look = m.state = 'fact', state = 'in_line', due_at = at, check_at = NULL, claim = NULL
        WHERE m.arrived = p_arrived AND m.line = v_line[1]
          AND (m.claim IS NULL OR m.state <> 'in_line')
        RETURNING m.*
    )
    INSERT INTO {schema}.interventions
        (arrived, org, routing_key, message_id, action, done_by, done_at)
    SELECT e.arrived, e.org, e.routing_key, e.message_id, 'end_wait', p_by, at FROM ended e;
    v_found := FOUND;
    PERFORM {schema}.refresh_lines(v_org, v_line, at);
    RETURN v_found;
END $$;
