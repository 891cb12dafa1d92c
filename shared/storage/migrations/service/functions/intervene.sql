-- Let an operator end the wait of an open message, or have it given up. Returns whether it was open and
-- nobody was at it.
-- `end_wait`: it looks now, once more, and is given up under its own code when it would still wait for
-- the same: for the same fact, for time, or to look again. A wait for a person has no end, so it looks
-- and waits on; and what may have been done at Zoho looks as soon as that is of use, not before. What
-- waits for a release cannot look: it is over at the next count of the waits.
-- `give_up`: the next count of the waits returns it as over, and the service gives it up
-- under this code and reason, like any other.
CREATE OR REPLACE FUNCTION {schema}.intervene(
    p_arrived bigint, p_action text, p_by text, p_code text, p_reason text,
    p_now timestamptz DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
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
    IF p_action = 'end_wait' THEN
        UPDATE {schema}.inbox m
        SET last_look = coalesce(m.wait IN ('fact', 'time', 'look')
                                 AND m.code IS DISTINCT FROM 'outcome_unknown', false),
            state = CASE WHEN r.is_release THEN m.state ELSE 'in_line' END,
            due_at = CASE WHEN r.is_release THEN m.due_at ELSE at END,
            end_s = CASE WHEN r.is_release THEN 0 ELSE m.end_s END,
            check_at = CASE WHEN r.is_release THEN at END, claim = NULL
        FROM (SELECT o.arrived, o.wait IS NOT DISTINCT FROM 'release' AS is_release
              FROM {schema}.inbox o WHERE o.arrived = p_arrived) r
        WHERE m.arrived = r.arrived AND m.line = v_line[1]
          AND NOT EXISTS (SELECT FROM {schema}.lines l WHERE l.org = m.org AND l.line = m.line
                          AND l.leased_arrived = m.arrived);
    ELSE
        -- Off its line, so that nobody leases it before.
        UPDATE {schema}.inbox m
        SET state = 'look', due_at = 'infinity', wait = 'release', code = p_code, reason = p_reason,
            fact_kind = NULL, fact_key = NULL, waiting_since = at, counted_at = at, counted_s = 0,
            end_s = 0, check_at = at, claim = NULL
        WHERE m.arrived = p_arrived AND m.line = v_line[1]
          AND NOT EXISTS (SELECT FROM {schema}.lines l WHERE l.org = m.org AND l.line = m.line
                          AND l.leased_arrived = m.arrived);
    END IF;
    v_found := FOUND;
    IF v_found THEN
        INSERT INTO {schema}.interventions
            (arrived, org, routing_key, message_id, action, done_by, done_at)
        SELECT m.arrived, m.org, m.routing_key, m.message_id, p_action, p_by, at
        FROM {schema}.inbox m WHERE m.arrived = p_arrived;
    END IF;
    PERFORM {schema}.refresh_lines(v_org, v_line, at);
    RETURN v_found;
END $$;
