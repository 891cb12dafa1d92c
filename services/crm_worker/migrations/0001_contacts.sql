-- The contact that CRM should have for each user, and how far CRM is behind it.
CREATE TABLE crm.contacts (
    org text NOT NULL,
    user_id text NOT NULL,

    -- What is wanted. The fields are in crm.contact_fields.
    has_email boolean NOT NULL DEFAULT false,   -- without one there is nothing to match by: wait
    tier text NOT NULL DEFAULT 'Free Tier',
    tier_version bigint NOT NULL DEFAULT 0,     -- of the event that announced it. The highest wins.
    wanted_version bigint NOT NULL DEFAULT 0,
    wanted_since timestamptz NOT NULL DEFAULT now(),    -- since when CRM has been behind

    -- What CRM has.
    zoho_id_sealed bytea,
    sent_version bigint NOT NULL DEFAULT 0,
    sent_tags text[],               -- of ours, those that it has. NULL: unknown, a flush was cut short
    retag_at timestamptz,           -- not all of ours fitted beside staff's: when they are tried again
    retags int NOT NULL DEFAULT 0,

    -- The flusher's lease of the row, and what failed last.
    lease bigint NOT NULL DEFAULT 0,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',  -- after a failure: not before
    failures int NOT NULL DEFAULT 0,
    refused_calls int NOT NULL DEFAULT 0,   -- calls refused as a whole with this contact in them
    refused_version bigint NOT NULL DEFAULT 0,  -- CRM refused this version: wait for the next
    refused_code text,
    refused_at timestamptz,
    refused_email bytea,            -- blind index of the email that another user's contact has
    go_by_id boolean NOT NULL DEFAULT false,    -- CRM's contact carries another user's id: repair it

    -- The message that changed the contact last.
    changed_by_key text NOT NULL DEFAULT 'user.signed_up.v1',
    changed_by_id text,
    PRIMARY KEY (org, user_id)
);

CREATE INDEX contacts_behind ON crm.contacts (org, wanted_since)
    WHERE has_email AND sent_version < wanted_version AND refused_version < wanted_version;

CREATE INDEX contacts_to_retag ON crm.contacts (org, retag_at) WHERE retag_at IS NOT NULL;

CREATE INDEX contacts_refused ON crm.contacts (org, refused_email)
    WHERE sent_version < refused_version;

-- Kind `email`: the user who may find, or make, a contact by this email. One only, so that no two
-- replicas can send two users to the same contact.
CREATE UNIQUE INDEX blind_index_email_owner ON crm.blind_index (org, index) WHERE kind = 'email';

-- One field of a user each, with the arrival of the command that set it: an older command, back from
-- a delay, changes nothing. A sign-up counts as 0, so that every update is later than it.
CREATE TABLE crm.contact_fields (
    org text NOT NULL,
    user_id text NOT NULL,
    field text NOT NULL,                        -- email, first_name, last_name, phone
    value_sealed bytea NOT NULL,
    in_crm_sealed bytea,                        -- what CRM has, as last sent or read. NULL: unknown
    arrived bigint NOT NULL,
    PRIMARY KEY (org, user_id, field)
);
