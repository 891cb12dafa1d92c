-- Users, and their customers in Zoho Billing. `revision` rises with every change of what decides the
-- user's tier, so that an event made from a state that another has changed since is not published.
CREATE TABLE {schema}.users (
    org text NOT NULL,
    user_id text NOT NULL,
    customer_sealed bytea,              -- Billing's id of the customer. Null: not made yet.
    contact_sealed bytea,               -- Books' id of the same. Null: not looked for yet.
    revision bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, user_id)
);

-- One field of a user each, with the arrival of the command that set it: an older command, back from
-- a delay, changes nothing. A sign-up counts as 0, so that every update is later than it, and what a
-- subscription's request brings along as -1.
CREATE TABLE {schema}.user_fields (
    org text NOT NULL,
    user_id text NOT NULL,
    field text NOT NULL,                -- email, full_name, first_name, last_name, phone
    value_sealed bytea NOT NULL,
    arrived bigint NOT NULL,
    PRIMARY KEY (org, user_id, field)
);

-- `requested_plan`, and `lines_sealed` of invoices, show whether an id is asked for differently or by
-- the same command once more.
CREATE TABLE {schema}.subscriptions (
    org text NOT NULL,
    subscription_id text NOT NULL,      -- the application's, or an opaque one of ours
    user_id text NOT NULL,
    zoho_id_sealed bytea NOT NULL,
    origin text NOT NULL CHECK (origin IN ('application', 'zoho')),
    status text NOT NULL,               -- Zoho's word
    plan_code text,
    quantity numeric,
    addons jsonb NOT NULL DEFAULT '{}', -- how often each recurring add-on, by its code
    term_ends_at date,
    requested_plan text,                -- what a command asked for. Null: no command did.
    zoho_updated_at timestamptz,        -- the age of what is stored, by Zoho's clock
    read_at timestamptz,                -- when that was read, by our clock
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, subscription_id)
);

CREATE INDEX subscriptions_user ON {schema}.subscriptions (org, user_id);

-- Invoices that Zoho made. A row begins when one is first heard of (by a webhook, or a subscription
-- that names it). It is announced once Books has it, under our own id.
CREATE TABLE {schema}.invoices (
    org text NOT NULL,
    invoice_id text NOT NULL,           -- opaque, ours
    user_id text NOT NULL,
    subscription_id text,
    billing_sealed bytea,               -- its ids in the two products
    books_sealed bytea,
    lines_sealed bytea,                 -- what a command asked for. Null: no command did.
    number text,
    status text,
    total numeric,
    balance numeric,
    currency text,
    dated date,
    due_on date,
    origin text NOT NULL DEFAULT 'zoho' CHECK (origin IN ('application', 'zoho')),
    wanted_at timestamptz NOT NULL DEFAULT now(),
    look_at timestamptz NOT NULL DEFAULT now(),     -- when Books is asked next
    lease bigint NOT NULL DEFAULT 0,
    gap_counted boolean NOT NULL DEFAULT false,
    lookup_ended text CHECK (lookup_ended IN ('void', 'deleted', 'draft', 'absent')),
    announced_at timestamptz,
    PRIMARY KEY (org, invoice_id)
);

CREATE UNIQUE INDEX invoices_number ON {schema}.invoices (org, number);
CREATE INDEX invoices_user ON {schema}.invoices (org, user_id);
CREATE INDEX invoices_wanted ON {schema}.invoices (look_at) WHERE announced_at IS NULL;

CREATE TABLE {schema}.payments (
    org text NOT NULL,
    payment_id text NOT NULL,           -- the application's, or an opaque one of ours
    user_id text NOT NULL,
    zoho_id_sealed bytea NOT NULL,
    origin text NOT NULL CHECK (origin IN ('application', 'zoho')),
    outcome text NOT NULL,              -- succeeded, failed
    amount numeric,
    currency text,
    invoice_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, payment_id)
);

CREATE TABLE {schema}.refunds (
    org text NOT NULL,
    refund_id text NOT NULL,            -- the application's
    payment_id text NOT NULL,
    amount numeric NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, refund_id)
);

CREATE INDEX refunds_payment ON {schema}.refunds (org, payment_id);

-- The command that decided last on a part of a subscription, by its first arrival. An older command
-- that comes back from a delay undoes nothing of it.
CREATE TABLE {schema}.decisions (
    org text NOT NULL,
    subscription_id text NOT NULL,
    about text NOT NULL CHECK (about IN ('renewal', 'plan')),
    arrived bigint NOT NULL,
    PRIMARY KEY (org, subscription_id, about)
);

-- Reminders of Zoho's that were passed on to users (a trial ends, a card expires, money went back).
-- The id is made from what the reminder is about: one that comes again is passed on once.
CREATE TABLE {schema}.reminders (
    org text NOT NULL,
    reminder_id uuid NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, reminder_id)
);
