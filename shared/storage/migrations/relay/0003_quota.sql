-- The quota ledger: what was spent of Zoho's limits, by PostgreSQL's clock.
--
-- A permit is a call. It is in flight until its answer, or its deadline (its worker died), and
-- counts in the sliding window until one window after that: Zoho may have received it at any
-- moment before. Rows that count for nothing any more are deleted as new ones are granted.
CREATE TABLE relay.permits (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org              text        NOT NULL,
    product          text        NOT NULL,
    lane             text        NOT NULL,
    weight           integer     NOT NULL CHECK (weight >= 0),
    heavy            boolean     NOT NULL,    -- counts against the smaller limit in flight (CRM)
    slot             timestamptz NOT NULL,    -- where its credits are booked in quota_spent
    granted_at       timestamptz NOT NULL,
    in_flight_until  timestamptz NOT NULL,
    counts_until     timestamptz NOT NULL
);

CREATE INDEX permits_counting ON relay.permits (org, product, counts_until);

-- Credits spent, in slots of 15 minutes: fine enough for a calendar day in any zone and for
-- rolling 24 hours, few enough to be summed in each decision.
CREATE TABLE relay.quota_spent (
    org      text        NOT NULL,
    product  text        NOT NULL,
    slot     timestamptz NOT NULL,
    credits  bigint      NOT NULL,
    PRIMARY KEY (org, product, slot)
);

-- What Zoho itself reported: others spend the same quota, and Zoho may count in its own way.
--
-- `resets_at`: when the day's credits come back, as Zoho's headers say. Once it is past, it is when
-- the present day began. `day_began`: the reset before that one, where it was seen.
CREATE TABLE relay.quota_told (
    org                  text   NOT NULL,
    product              text   NOT NULL,
    minute_until         timestamptz,     -- blocked until then, by the limit that Zoho named
    day_until            timestamptz,
    concurrency_until    timestamptz,
    throttled_since      timestamptz,     -- first of an unbroken row of refusals that name no limit
    credits_limit        bigint,          -- of a day, as Zoho's headers say
    credits_of_others    bigint NOT NULL DEFAULT 0,
    credits_told_until   timestamptz,     -- what others spent is forgotten then
    day_began            timestamptz,
    resets_at            timestamptz,
    PRIMARY KEY (org, product)
);
