-- Delete reservations whose time is over: they count for nothing any more. Called under the lock of
-- the quota.
CREATE OR REPLACE FUNCTION relay.expire_reservations(
    p_org text, p_product text, at timestamptz
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    DELETE FROM relay.reservations r
    WHERE r.org = p_org AND r.product = p_product AND r.expires_at <= at;
END $$;
