-- Forget reservations whose time is over, and the credits booked for them. Called under the lock of
-- the quota.
CREATE OR REPLACE FUNCTION relay.expire_reservations(
    p_org text, p_product text, at timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM relay.reservations r
               WHERE r.org = p_org AND r.product = p_product AND r.expires_at <= at) THEN
        PERFORM relay.drop_reservations(ARRAY(
            SELECT r.id FROM relay.reservations r
            WHERE r.org = p_org AND r.product = p_product AND r.expires_at <= at));
    END IF;
END $$;
