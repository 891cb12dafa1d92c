-- Tickets that we watch: those that escalations opened, and those that known users opened themselves
-- (origin zoho, under an opaque id of ours). The state is that of the last read.
CREATE TABLE desk.escalations (
    org text NOT NULL,
    escalation_id text NOT NULL,
    user_id text,
    origin text NOT NULL CHECK (origin IN ('application', 'zoho')),
    email_sealed bytea NOT NULL,                -- of our user: whom a notification is for
    subject_sealed bytea,
    zoho_id_sealed bytea NOT NULL,

    version bigint NOT NULL DEFAULT 0,          -- rises with every state recorded, see desk.advance
    status text NOT NULL,                       -- the department's own word
    kind text NOT NULL CHECK (kind IN ('open', 'onhold', 'closed')),
    priority text,
    department bytea,                           -- a MAC of its id, to notice a move
    modified_at timestamptz,                    -- Desk's time of that state
    customer_replied_at timestamptz,            -- Desk's time of the customer's last reply
    gone boolean NOT NULL DEFAULT false,        -- merged away, or in the trash

    request_mac bytea,                          -- of the command that opened it: the same id means the same
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    looked_at timestamptz NOT NULL DEFAULT clock_timestamp(),   -- by polling, whatever searches show
    PRIMARY KEY (org, escalation_id)
);

CREATE INDEX escalations_to_look_at ON desk.escalations (org, looked_at)
    WHERE NOT gone AND kind <> 'closed';

-- The changes that were announced, once each. A closing is announced again only after a reopening.
CREATE TABLE desk.transitions (
    org text NOT NULL,
    escalation_id text NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,                    -- when it happened, by Desk's clock
    PRIMARY KEY (org, escalation_id, kind, at)
);

-- How far tickets/search was read, by organization, and who reads it now.
CREATE TABLE desk.polls (
    org text PRIMARY KEY,
    polled_to timestamptz NOT NULL,
    due_at timestamptz NOT NULL DEFAULT '-infinity',
    lease bigint NOT NULL DEFAULT 0,
    leased_until timestamptz NOT NULL DEFAULT '-infinity'
);
