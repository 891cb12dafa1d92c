-- Delete reservations whose time is over, and calls that have left every window: they count for
-- nothing any more. Called under the lock of the quota.
CREATE OR REPLACE FUNCTION relay.expire_calls(
    p_org text, p_product text, at timestamptz
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    DELETE FROM relay.reservations r
    WHERE r.org = p_org AND r.product = p_product AND r.expires_at <= at;
    DELETE FROM relay.permits p
    WHERE p.org = p_org AND p.product = p_product AND p.counts_until <= at;
END $$;
