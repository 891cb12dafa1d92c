-- How far changes by staff were compared with what is stored, and the channel by which CRM announces
-- them. Every change in CRM up to compared_to was compared, whatever the channel missed.
CREATE TABLE crm.watches (
    org text PRIMARY KEY,
    compared_to timestamptz NOT NULL,
    due_at timestamptz NOT NULL DEFAULT '-infinity',    -- when to compare next

    channel_id bigint NOT NULL,                         -- a number of our choice
    channel_expires_at timestamptz,                     -- as CRM granted it. NULL: none was opened yet
    channel_since timestamptz,                          -- since when it is open without a gap
    renew_at timestamptz NOT NULL DEFAULT '-infinity',

    lease bigint NOT NULL DEFAULT 0,
    leased_until timestamptz NOT NULL DEFAULT '-infinity'
);

-- What was compared until when: the proof that no gap stayed open. Deleted after 190 days.
CREATE TABLE crm.comparisons (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org text NOT NULL,
    cause text NOT NULL CHECK (cause IN ('gap', 'round')),  -- gap: there was no channel for a time
    first timestamptz NOT NULL,
    last timestamptz NOT NULL,
    contacts int NOT NULL,                              -- of ours, those modified in the time
    changes int NOT NULL,                               -- of them, those that no webhook had reported
    compared_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX comparisons_by_age ON crm.comparisons (compared_at);
