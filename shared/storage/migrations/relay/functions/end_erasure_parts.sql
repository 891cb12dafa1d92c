-- End the parts of a service: our rows and journal entries of the user go. Fails with ZR001, to be tried
-- again, while a transaction is open that may have looked for the tombstone before it was there.
CREATE OR REPLACE FUNCTION relay.end_erasure_parts(
    p_org text, p_user_id text, p_schema text, p_products text[], p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM relay.tombstones t WHERE t.org = p_org AND t.user_id = p_user_id FOR UPDATE;
    IF EXISTS (SELECT FROM relay.erasure_parts p
               WHERE p.org = p_org AND p.user_id = p_user_id AND p.product = ANY (p_products)
                 AND p.began_before > pg_snapshot_xmin(pg_current_snapshot())) THEN
        RAISE EXCEPTION 'older transactions are open' USING ERRCODE = 'ZR001';
    END IF;
    PERFORM relay.erase_rows(p_schema, p_org, p_user_id);
    DELETE FROM relay.effects e
    WHERE e.org = p_org AND e.owner = p_user_id AND e.product = ANY (p_products);
    UPDATE relay.erasure_parts p
    SET found = NULL, waits_for = NULL, ended_at = coalesce(p_now, clock_timestamp())
    WHERE p.org = p_org AND p.user_id = p_user_id AND p.product = ANY (p_products)
      AND p.ended_at IS NULL;
END $$;
