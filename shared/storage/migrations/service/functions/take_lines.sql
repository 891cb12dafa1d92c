-- Lease the heads of lines that `lease_messages` has locked, under the claims that it chose. p_lapsed:
-- there are lapsed leases among them. Nothing else of a message is written: a lease costs one row.
CREATE OR REPLACE FUNCTION {schema}.take_lines(
    p_rows tid[], p_claims bigint[], p_alone boolean[], p_lapsed boolean, p_lease_s float8,
    p_answering_s float8, p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    IF p_lapsed THEN
        -- A lapsed attempt counts only when it says something about the message: its process did
        -- nothing else, and PostgreSQL would have taken its renewals.
        UPDATE {schema}.inbox m
        SET lapses = m.lapses + 1,
            attempt = m.attempt + (l.leased_alone
                AND l.leased_at >= at - make_interval(secs => p_answering_s)
                AND l.leased_at >= pg_postmaster_start_time())::integer
        FROM unnest(p_rows) AS k (at_row)
        JOIN {schema}.lines l ON l.ctid = k.at_row
        WHERE m.arrived = l.leased_arrived;
    END IF;
    UPDATE {schema}.lines l
    SET claim = k.claim, leased_arrived = l.head, leased_at = at, seen = pg_current_snapshot(),
        lapses = l.lapses + coalesce(l.leased_arrived = l.head, false)::integer,
        leased_until = at + make_interval(secs => p_lease_s), leased_alone = k.alone
    FROM unnest(p_rows, p_claims, p_alone) AS k (at_row, claim, alone)
    WHERE l.ctid = k.at_row;
END $$;
