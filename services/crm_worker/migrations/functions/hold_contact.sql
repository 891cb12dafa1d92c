-- Go on only while the contact is still leased to us: a refusal is reported once.
-- ZR001 ("changed meanwhile") is an error like any other for messaging: the message is handled again.
CREATE OR REPLACE FUNCTION crm.hold_contact(p_org text, p_user_id text, p_lease bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM crm.contacts
    WHERE org = p_org AND user_id = p_user_id AND lease = p_lease
    FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the contact was leased by another' USING ERRCODE = 'ZR001';
    END IF;
END $$;
