-- Let an open message be given up by hand: the next count of the waits returns it as over, and the
-- service gives it up like any other. Returns whether it was open and nobody was at it.
CREATE OR REPLACE FUNCTION {schema}.give_up_message(
    p_arrived bigint, p_by text, p_code text, p_reason text, p_now timestamptz DEFAULT NULL
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
        -- Off its line, so that nobody leases it before.
        UPDATE {schema}.inbox m
        SET state = 'look', due_at = 'infinity', wait = 'release', code = p_code, reason = p_reason,
            fact_kind = NULL, fact_key = NULL, waiting_since = at, counted_at = at, counted_s = 0,
            end_s = 0, check_at = at, claim = NULL
        WHERE m.arrived = p_arrived AND m.line = v_line[1]
          AND (m.claim IS NULL OR m.state <> 'in_line')
        RETURNING m.*
    )
    INSERT INTO {schema}.interventions
        (arrived, org, routing_key, message_id, action, done_by, done_at)
    SELECT e.arrived, e.org, e.routing_key, e.message_id, 'give_up', p_by, at FROM ended e;
    v_found := FOUND;
    PERFORM {schema}.refresh_lines(v_org, v_line, at);
    RETURN v_found;
END $$;
