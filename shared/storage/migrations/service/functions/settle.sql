-- Settle claimed messages, `done` or `given_up`, and return the positions of those whose claim still
-- held. Called inside the transaction that writes what they changed; arrays sorted by key.
CREATE OR REPLACE FUNCTION {schema}.settle(
    p_org text[], p_routing_key text[], p_message_id text[], p_claim bigint[], p_state text[],
    p_code text[]
) RETURNS TABLE (item integer) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    UPDATE {schema}.inbox x
    SET state = i.state, code = i.code, place = NULL, leased_until = NULL,
        settled_at = clock_timestamp()
    FROM unnest(p_org, p_routing_key, p_message_id, p_claim, p_state, p_code)
         WITH ORDINALITY AS i (org, routing_key, message_id, claim, state, code, o)
    WHERE x.org = i.org AND x.routing_key = i.routing_key AND x.message_id = i.message_id
      AND x.claim = i.claim AND x.state = 'claimed'
    RETURNING i.o::integer;
END $$;
