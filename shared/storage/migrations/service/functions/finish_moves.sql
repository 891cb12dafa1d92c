-- Move the lines that are marked and whose leased message lapsed: nothing of them is leased until
-- then, so no lease takes that message over.
CREATE OR REPLACE FUNCTION {schema}.finish_moves(p_now timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_org text[];
    v_line text[];
    v_lapsed bigint[];
BEGIN
    SELECT array_agg(l.org), array_agg(l.line) INTO v_org, v_line
    FROM {schema}.lines l
    WHERE l.moving_to IS NOT NULL AND (l.leased_until IS NULL OR l.leased_until <= at);
    IF v_org IS NULL THEN
        RETURN;
    END IF;
    PERFORM {schema}.lock_lines(v_org, v_line);
    WITH lapsed AS (
        UPDATE {schema}.inbox m SET lapses = m.lapses + 1
        FROM unnest(v_org, v_line) AS u (org, line)
        JOIN {schema}.lines l ON l.org = u.org AND l.line = u.line
        WHERE m.arrived = l.leased_arrived AND l.leased_until <= at
        RETURNING m.arrived
    )
    SELECT array_agg(l.arrived) INTO v_lapsed FROM lapsed l;
    PERFORM {schema}.refresh_lines(v_org, v_line, at, v_lapsed);
END $$;
