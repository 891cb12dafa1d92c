-- Fail when one of the users asked to be forgotten: what announces something of theirs is not committed.
CREATE OR REPLACE FUNCTION relay.refuse_erased_users(p_org text[], p_user_id text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_current_xact_id();
    IF EXISTS (SELECT FROM relay.tombstones t
               JOIN unnest(p_org, p_user_id) AS u (org, user_id)
                 ON t.org = u.org AND t.user_id = u.user_id) THEN
        RAISE EXCEPTION 'the user asked to be forgotten' USING ERRCODE = 'ZR004';
    END IF;
END $$;
