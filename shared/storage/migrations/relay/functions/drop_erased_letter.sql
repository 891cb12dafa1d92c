-- Trigger: of a user who asked to be forgotten no dead letter is kept, but that of the erasure itself.
CREATE OR REPLACE FUNCTION relay.drop_erased_letter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_current_xact_id();
    IF NOT NEW.first AND EXISTS (
        SELECT FROM relay.tombstones t
        WHERE t.org = NEW.org AND t.user_id = substring(NEW.line FROM 6)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
