-- Trigger: no effect is intended for a user who asked to be forgotten. Results of earlier ones are stored.
CREATE OR REPLACE FUNCTION relay.refuse_erased_effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_current_xact_id();
    IF EXISTS (SELECT FROM relay.tombstones t WHERE t.org = NEW.org AND t.user_id = NEW.owner) THEN
        RAISE EXCEPTION 'the user asked to be forgotten' USING ERRCODE = 'ZR004';
    END IF;
    RETURN NEW;
END $$;
