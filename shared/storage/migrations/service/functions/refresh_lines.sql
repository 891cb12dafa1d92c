-- Find the heads of lines anew, from their messages, and delete the lines in which none stands.
--
-- The caller has locked the lines in an earlier statement: what was accepted or woken before that is
-- seen here, and what comes later waits for the lock. In one statement with the lock, a line could be
-- deleted under a message that was accepted at the same moment, which would never be leased.
--
-- A lease ends when its message is settled, that is, gone, or put back (p_put_back). Then a line that is
-- marked moves.
--
-- Returns whether one of them is due, so that somebody should lease.
CREATE OR REPLACE FUNCTION {schema}.refresh_lines(
    p_org text[], p_line text[], p_now timestamptz DEFAULT NULL, p_put_back bigint[] DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_org text[] := p_org;
    v_line text[] := p_line;
    v_put_back bigint[] := coalesce(p_put_back, '{}');
    v_due boolean;
    marked record;
BEGIN
    FOR marked IN
        SELECT l.org, l.line, l.moving_to
        FROM (SELECT DISTINCT u.org, u.line FROM unnest(p_org, p_line) AS u (org, line)) u
        JOIN {schema}.lines l ON l.org = u.org AND l.line = u.line
        WHERE l.moving_to IS NOT NULL AND NOT EXISTS (
            SELECT FROM {schema}.inbox m
            WHERE m.arrived = l.leased_arrived AND m.arrived <> ALL (v_put_back))
        ORDER BY l.org, l.line
    LOOP
        -- Locked already, unless the mark was set after that.
        PERFORM {schema}.lock_lines(ARRAY[marked.org], ARRAY[marked.moving_to]);
        UPDATE {schema}.inbox SET line = marked.moving_to
        WHERE org = marked.org AND line = marked.line AND state = 'in_line';
        UPDATE {schema}.inbox SET line = marked.moving_to
        WHERE org = marked.org AND line = marked.line AND state <> 'in_line';
        UPDATE {schema}.lines SET moving_to = NULL WHERE org = marked.org AND line = marked.line;
        v_org := v_org || marked.org;
        v_line := v_line || marked.moving_to;
    END LOOP;

    -- Each is looked up by its key, and written by where it is found: locked, it stays there.
    WITH heads AS MATERIALIZED (
        SELECT l.at_row, h.arrived, h.place, h.route, h.due_at, h.lapses, p.priority,
               coalesce(l.leased_arrived <> ALL (v_put_back) AND (
                   SELECT m.org = w.org AND m.line = w.line FROM {schema}.inbox m
                   WHERE m.arrived = l.leased_arrived), false) AS holds
        FROM (SELECT DISTINCT u.org, u.line FROM unnest(v_org, v_line) AS u (org, line)) w
        CROSS JOIN LATERAL (
            SELECT l.ctid AS at_row, l.leased_arrived FROM {schema}.lines l
            WHERE l.org = w.org AND l.line = w.line OFFSET 0
        ) l
        LEFT JOIN LATERAL (
            SELECT m.arrived, m.place, m.route, m.due_at, m.lapses FROM {schema}.inbox m
            WHERE m.org = w.org AND m.line = w.line AND m.state = 'in_line'
            ORDER BY m.place, m.arrived LIMIT 1
        ) h ON true
        LEFT JOIN LATERAL (
            SELECT m.priority FROM {schema}.inbox m
            WHERE h.arrived IS NOT NULL
              AND m.org = w.org AND m.line = w.line AND m.state = 'in_line'
            ORDER BY m.priority LIMIT 1
        ) p ON true
    ), gone AS (
        DELETE FROM {schema}.lines l USING heads h WHERE l.ctid = h.at_row AND h.arrived IS NULL
    ), filled AS (
        UPDATE {schema}.lines l
        SET state = CASE WHEN h.due_at <= at THEN 'due' ELSE 'later' END,
            head = h.arrived, head_place = h.place, head_route = h.route, priority = h.priority,
            due_at = h.due_at, lapses = h.lapses,
            claim = CASE WHEN h.holds THEN l.claim END,
            leased_arrived = CASE WHEN h.holds THEN l.leased_arrived END,
            leased_at = CASE WHEN h.holds THEN l.leased_at END,
            leased_until = CASE WHEN h.holds THEN l.leased_until END,
            leased_alone = CASE WHEN h.holds THEN l.leased_alone END,
            seen = CASE WHEN h.holds THEN l.seen END,
            moving_to = CASE WHEN h.holds THEN l.moving_to END
        FROM heads h
        WHERE l.ctid = h.at_row AND h.arrived IS NOT NULL
        RETURNING l.state = 'due' AND l.leased_arrived IS NULL AS is_due
    )
    SELECT coalesce(bool_or(f.is_due), false) INTO v_due FROM filled f;
    RETURN v_due;
END $$;
