-- Move the lines that are marked and whose leased message lapsed: nothing of them is leased until
-- then, so no lease takes that message over.
CREATE OR REPLACE FUNCTION {schema}.finish_moves(p_now timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_org text[];
    v_line text[];
    v_claim bigint[];
BEGIN
    SELECT array_agg(l.org), array_agg(l.line), array_agg(l.claim) INTO v_org, v_line, v_claim
    FROM {schema}.lines l
    WHERE l.moving_to IS NOT NULL AND (l.leased_until IS NULL OR l.leased_until <= at);
    IF v_org IS NULL THEN
        RETURN;
    END IF;
    PERFORM {schema}.lock_lines(v_org, v_line);
    UPDATE {schema}.inbox m
    SET claim = NULL, lapses = m.lapses + 1, attempt = m.attempt - 1
    FROM unnest(v_org, v_line, v_claim) AS u (org, line, claim)
    JOIN {schema}.lines l ON l.org = u.org AND l.line = u.line AND l.claim = u.claim
    WHERE m.arrived = l.leased_arrived AND m.claim = l.claim AND l.leased_until <= at;
    PERFORM {schema}.refresh_lines(v_org, v_line, at);
END $$;
