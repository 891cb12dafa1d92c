-- Extend leases that nobody has taken over, also lapsed ones. Returns the messages still held.
CREATE OR REPLACE FUNCTION {schema}.renew_leases(
    p_arrived bigint[], p_claim bigint[], p_lease_s float8, p_now timestamptz DEFAULT NULL
) RETURNS TABLE (arrived bigint) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    RETURN QUERY
    WITH held AS MATERIALIZED (
        SELECT l.org, l.line, u.arrived
        FROM unnest(p_arrived, p_claim) AS u (arrived, claim)
        JOIN {schema}.inbox m ON m.arrived = u.arrived
        JOIN {schema}.lines l ON l.org = m.org AND l.line = m.line
        WHERE l.leased_arrived = u.arrived AND l.claim = u.claim
        ORDER BY l.org, l.line FOR UPDATE OF l
    )
    UPDATE {schema}.lines l SET leased_until = at + make_interval(secs => p_lease_s)
    FROM held h WHERE l.org = h.org AND l.line = h.line
    RETURNING h.arrived;
END $$;
