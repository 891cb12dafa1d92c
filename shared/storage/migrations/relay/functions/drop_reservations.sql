-- Delete reservations with the credits booked for what is left of them. Called under the lock of
-- their quota.
CREATE OR REPLACE FUNCTION relay.drop_reservations(p_ids bigint[]) RETURNS void LANGUAGE sql AS $$
    WITH dropped AS (
        DELETE FROM relay.reservations r WHERE r.id = ANY (p_ids)
        RETURNING r.org, r.product, r.slot, r.calls
    ), freed AS (
        SELECT org, product, slot, sum(calls) AS credits FROM dropped GROUP BY org, product, slot
    )
    UPDATE relay.quota_spent s SET credits = greatest(s.credits - f.credits, 0)
    FROM freed f
    WHERE s.org = f.org AND s.product = f.product AND s.slot = f.slot AND f.credits > 0
$$;
