-- End an erasure whose parts have all ended: destroy the user's key. Fails with ZR001 when another has
-- ended it, so that there is one receipt. p_key_id: of the row that keeps the key from being made again.
CREATE OR REPLACE FUNCTION relay.end_erasure(
    p_org text, p_user_id text, p_key_id uuid, p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    UPDATE relay.tombstones t SET ended_at = at
    WHERE t.org = p_org AND t.user_id = p_user_id AND t.ended_at IS NULL;
    IF NOT FOUND OR EXISTS (
        SELECT FROM relay.erasing_products e WHERE NOT EXISTS (
            SELECT FROM relay.erasure_parts p
            WHERE p.org = p_org AND p.user_id = p_user_id AND p.product = e.product
              AND p.ended_at IS NOT NULL)) THEN
        RAISE EXCEPTION 'the erasure has ended, or a part of it has not' USING ERRCODE = 'ZR001';
    END IF;
    INSERT INTO relay.data_keys (id, org, owner, destroyed_at)
    VALUES (p_key_id, p_org, 'user:' || p_user_id, at)
    ON CONFLICT (org, owner) DO UPDATE
    SET key_id = NULL, wrapped = NULL, destroyed_at = at
    WHERE data_keys.destroyed_at IS NULL;
END $$;
