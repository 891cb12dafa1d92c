-- Trigger: no new row of a user who asked to be forgotten. `relay.guard_users` puts it on every table with
-- a `user_id`.
--
-- The transaction gets its number before the look. So whoever erases knows which transactions may have
-- looked before the tombstone was there, and waits for those.
CREATE OR REPLACE FUNCTION relay.refuse_erased_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_current_xact_id();
    IF EXISTS (SELECT FROM relay.tombstones t
               WHERE t.org = NEW.org AND t.user_id = NEW.user_id) THEN
        RAISE EXCEPTION 'the user asked to be forgotten' USING ERRCODE = 'ZR004';
    END IF;
    RETURN NEW;
END $$;
