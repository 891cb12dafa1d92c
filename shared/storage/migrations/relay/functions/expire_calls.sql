-- Delete reservations whose time is over, calls that have left every window, and what was spent in days
-- long gone. They count for nothing any more, and what another one deletes is passed over.
CREATE OR REPLACE FUNCTION relay.expire_calls(
    p_org text, p_product text, at timestamptz
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    DELETE FROM relay.reservations r WHERE r.id = ANY (ARRAY(
        SELECT e.id FROM relay.reservations e
        WHERE e.org = p_org AND e.product = p_product AND e.expires_at <= at
        FOR UPDATE SKIP LOCKED));
    DELETE FROM relay.permits p WHERE p.id = ANY (ARRAY(
        SELECT e.id FROM relay.permits e
        WHERE e.org = p_org AND e.product = p_product AND e.counts_until <= at
        FOR UPDATE SKIP LOCKED));
    DELETE FROM relay.quota_spent s
    WHERE s.org = p_org AND s.product = p_product AND s.slot = ANY (ARRAY(
        SELECT e.slot FROM relay.quota_spent e
        WHERE e.org = p_org AND e.product = p_product AND e.slot < at - interval '3 days'
        FOR UPDATE SKIP LOCKED));
END $$;
