-- Take the user's next revision, if it still is the one that was read. Otherwise somebody else has
-- changed what decides the user's tier: the whole commit fails, and the message is handled again.
-- ZR001 ("changed meanwhile") is an error like any other for messaging: the message is handled again.
-- A serialization failure would pass for a database that is away, and the commit would be repeated.
CREATE OR REPLACE FUNCTION {schema}.take_revision(
    p_org text, p_user_id text, p_read bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {schema}.users SET revision = revision + 1
    WHERE org = p_org AND user_id = p_user_id AND revision = p_read;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the user changed meanwhile' USING ERRCODE = 'ZR001';
    END IF;
END $$;
