-- What CRM refuses is told and shown, and an email belongs to one user only.
ALTER TABLE crm.contacts
    -- The message that changed the contact last.
    ADD changed_by_key text NOT NULL DEFAULT 'user.signed_up.v1',
    ADD changed_by_id text,
    ADD refused_at timestamptz,
    ADD refused_email bytea,            -- blind index of the email that another user's contact has
    ADD go_by_id boolean NOT NULL DEFAULT false;    -- CRM's contact carries another's user id: mend it

CREATE INDEX contacts_refused ON crm.contacts (org, refused_email)
    WHERE sent_version < refused_version;

-- Kind `email`: the user who may find, or make, a contact by this email. One only, so that no two
-- replicas can send two users to the same contact.
CREATE UNIQUE INDEX blind_index_email_owner ON crm.blind_index (org, index) WHERE kind = 'email';

-- Go on only while the contact is still leased to us: a refusal is told once.
-- (ZR001: see billing-worker's migrations.)
CREATE FUNCTION crm.hold_contact(p_org text, p_user_id text, p_lease bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM crm.contacts
    WHERE org = p_org AND user_id = p_user_id AND lease = p_lease
    FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the contact was leased by another' USING ERRCODE = 'ZR001';
    END IF;
END $$;

-- Go on only while somebody has the email: who lets go of it then finds those who were refused.
CREATE FUNCTION crm.hold_email(p_org text, p_index bytea) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM crm.blind_index
    WHERE org = p_org AND kind = 'email' AND index = p_index
    FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the email is free' USING ERRCODE = 'ZR001';
    END IF;
END $$;
