-- Go on only while somebody has the email: who lets go of it then finds those who were refused.
-- ZR001 ("changed meanwhile"): the message is handled again.
CREATE OR REPLACE FUNCTION crm.hold_email(p_org text, p_index bytea) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM crm.blind_index
    WHERE org = p_org AND kind = 'email' AND index = p_index
    FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the email is free' USING ERRCODE = 'ZR001';
    END IF;
END $$;
