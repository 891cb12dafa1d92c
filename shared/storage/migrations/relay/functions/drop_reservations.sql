-- Delete reservations with the credits booked for what is left of them. It decides nothing, so it takes
-- no lock of the quota; rows of quota_spent are written in sorted order.
CREATE OR REPLACE FUNCTION relay.drop_reservations(p_ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    freed record;
BEGIN
    FOR freed IN
        WITH dropped AS (
            DELETE FROM relay.reservations r WHERE r.id = ANY (p_ids)
            RETURNING r.org, r.product, r.slot, r.calls
        )
        SELECT d.org, d.product, d.slot, sum(d.calls) AS credits FROM dropped d
        GROUP BY d.org, d.product, d.slot HAVING sum(d.calls) > 0 ORDER BY 1, 2, 3
    LOOP
        UPDATE relay.quota_spent s SET credits = greatest(s.credits - freed.credits, 0)
        WHERE s.org = freed.org AND s.product = freed.product AND s.slot = freed.slot;
    END LOOP;
END $$;
