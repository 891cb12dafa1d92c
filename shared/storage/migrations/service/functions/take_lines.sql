-- Lease the heads of lines that `lease_messages` has locked. p_lapsed: there are lapsed leases among them.
CREATE OR REPLACE FUNCTION {schema}.take_lines(
    p_rows tid[], p_alone boolean[], p_lapsed boolean, p_lease_s float8, p_answering_s float8,
    p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    IF p_lapsed THEN
        -- A lapsed attempt counts only when it says something about the message: its process did
        -- nothing else, and PostgreSQL would have taken its renewals.
        UPDATE {schema}.inbox m
        SET claim = NULL, lapses = m.lapses + 1,
            attempt = m.attempt - (NOT (l.leased_alone
                AND l.leased_at >= at - make_interval(secs => p_answering_s)
                AND l.leased_at >= pg_postmaster_start_time()))::integer
        FROM unnest(p_rows) AS k (at_row)
        JOIN {schema}.lines l ON l.ctid = k.at_row
        WHERE l.leased_arrived IS NOT NULL AND m.arrived = l.leased_arrived AND m.claim = l.claim;
    END IF;
    WITH taken AS (
        UPDATE {schema}.lines l
        SET claim = nextval('{schema}.claims'), leased_arrived = l.head, leased_at = at,
            lapses = l.lapses + coalesce(l.leased_arrived = l.head, false)::integer,
            leased_until = at + make_interval(secs => p_lease_s), leased_alone = k.alone
        FROM unnest(p_rows, p_alone) AS k (at_row, alone)
        WHERE l.ctid = k.at_row
        RETURNING l.head, l.claim
    )
    UPDATE {schema}.inbox m
    SET claim = t.claim, attempt = m.attempt + 1, seen = pg_current_snapshot()
    FROM taken t WHERE m.arrived = t.head;
END $$;
