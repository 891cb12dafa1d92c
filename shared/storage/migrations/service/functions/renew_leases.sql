-- Extend leases that nobody has taken over, also lapsed ones. Returns the messages still held.
CREATE OR REPLACE FUNCTION {schema}.renew_leases(
    p_arrived bigint[], p_claim bigint[], p_lease_s float8, p_now timestamptz DEFAULT NULL
) RETURNS TABLE (arrived bigint) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_row tid[];
    v_arrived bigint[];
BEGIN
    -- Locked one after the other, in sorted order.
    SELECT array_agg(l.at_row), array_agg(k.arrived) INTO v_row, v_arrived
    FROM (SELECT m.org, m.line, u.arrived, u.claim
          FROM unnest(p_arrived, p_claim) AS u (arrived, claim)
          JOIN {schema}.inbox m ON m.arrived = u.arrived AND m.arrived = ANY (p_arrived)
          ORDER BY m.org, m.line OFFSET 0) k
    CROSS JOIN LATERAL (
        SELECT l.ctid AS at_row FROM {schema}.lines l
        WHERE l.org = k.org AND l.line = k.line
          AND l.leased_arrived = k.arrived AND l.claim = k.claim FOR UPDATE
    ) l;
    UPDATE {schema}.lines l SET leased_until = at + make_interval(secs => p_lease_s)
    WHERE l.ctid = ANY (v_row);
    RETURN QUERY SELECT unnest(v_arrived);
END $$;
