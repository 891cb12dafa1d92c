-- Begin the parts of these products, or find them begun. Returns one row each. `ready_in_s`: so long may
-- something of the user still be under way at Zoho, by the tombstone's age and the open effects.
CREATE OR REPLACE FUNCTION relay.begin_erasure_parts(
    p_org text, p_user_id text, p_products text[], p_quiet_s float8, p_now timestamptz DEFAULT NULL
) RETURNS TABLE (
    product text, ready_in_s float8, found bytea, refusals integer, done boolean, ended boolean,
    erased_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    -- The command was accepted with its tombstone, in an earlier transaction. So whoever has a number
    -- that is not yet given looks after it.
    INSERT INTO relay.erasure_parts (org, user_id, product, began_at, began_before)
    SELECT p_org, p_user_id, u.product, at, pg_snapshot_xmax(pg_current_snapshot())
    FROM unnest(p_products) AS u (product) ORDER BY u.product
    ON CONFLICT DO NOTHING;
    RETURN QUERY
    SELECT p.product,
           greatest(0, extract(epoch FROM greatest(
               t.asked_at + make_interval(secs => p_quiet_s),
               (SELECT max(e.look_after) FROM relay.effects e
                WHERE e.org = p_org AND e.owner = p_user_id AND e.product = p.product
                  AND e.state = 'intended')) - at))::float8,
           p.found, p.refusals, p.done_at IS NOT NULL, p.ended_at IS NOT NULL, t.ended_at
    FROM relay.erasure_parts p JOIN relay.tombstones t USING (org, user_id)
    WHERE p.org = p_org AND p.user_id = p_user_id AND p.product = ANY (p_products);
END $$;
