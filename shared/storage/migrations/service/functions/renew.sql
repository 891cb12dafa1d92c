-- Extend the leases of claims that still hold.
CREATE OR REPLACE FUNCTION {schema}.renew(
    p_org text[], p_routing_key text[], p_message_id text[], p_claim bigint[], p_lease_s float8
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    UPDATE {schema}.inbox x
    SET leased_until = clock_timestamp() + make_interval(secs => p_lease_s)
    FROM unnest(p_org, p_routing_key, p_message_id, p_claim)
         AS i (org, routing_key, message_id, claim)
    WHERE x.org = i.org AND x.routing_key = i.routing_key AND x.message_id = i.message_id
      AND x.claim = i.claim AND x.state = 'claimed';
END $$;
