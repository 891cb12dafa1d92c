-- Give claims back. `p_unspent`: the attempt does not count. `p_leave`: it leaves its place in line.
CREATE OR REPLACE FUNCTION {schema}.release(
    p_org text[], p_routing_key text[], p_message_id text[], p_claim bigint[],
    p_unspent boolean[], p_leave boolean[]
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    UPDATE {schema}.inbox x
    SET state = 'waiting', leased_until = NULL,
        attempts = x.attempts - i.unspent::integer,
        place = CASE WHEN i.leave THEN NULL ELSE x.place END
    FROM unnest(p_org, p_routing_key, p_message_id, p_claim, p_unspent, p_leave)
         AS i (org, routing_key, message_id, claim, unspent, leave)
    WHERE x.org = i.org AND x.routing_key = i.routing_key AND x.message_id = i.message_id
      AND x.claim = i.claim AND x.state = 'claimed';
END $$;
