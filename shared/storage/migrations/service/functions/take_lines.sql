-- Lease the heads of lines that `lease_messages` has locked, those of lapsed leases too.
CREATE OR REPLACE FUNCTION {schema}.take_lines(
    p_org text[], p_line text[], p_alone boolean[], p_lease_s float8, p_answering_s float8,
    p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    -- A lapsed attempt counts only when it says something about the message: its process did nothing
    -- else, and PostgreSQL would have taken its renewals.
    UPDATE {schema}.open_messages m
    SET claim = NULL, lapses = m.lapses + 1,
        attempt = m.attempt - (NOT (l.leased_alone
            AND l.leased_at >= at - make_interval(secs => p_answering_s)
            AND l.leased_at >= pg_postmaster_start_time()))::integer
    FROM unnest(p_org, p_line) AS k (org, line)
    JOIN {schema}.lines l ON l.org = k.org AND l.line = k.line
    WHERE l.leased_arrived IS NOT NULL AND m.arrived = l.leased_arrived AND m.claim = l.claim;

    WITH taken AS (
        UPDATE {schema}.lines l
        SET claim = nextval('{schema}.claims'), leased_arrived = l.head, leased_at = at,
            lapses = l.lapses + coalesce(l.leased_arrived = l.head, false)::integer,
            leased_until = at + make_interval(secs => p_lease_s), leased_alone = k.alone
        FROM unnest(p_org, p_line, p_alone) AS k (org, line, alone)
        WHERE l.org = k.org AND l.line = k.line
        RETURNING l.head, l.claim
    )
    UPDATE {schema}.open_messages m
    SET claim = t.claim, attempt = m.attempt + 1, seen = pg_current_snapshot()
    FROM taken t WHERE m.arrived = t.head;
END $$;
