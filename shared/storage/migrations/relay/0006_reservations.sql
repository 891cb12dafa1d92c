-- Calls that are promised to a message before its work starts. They count in the minute and in the
-- day, not in flight. A call turns one of them into a permit; what is left is given back, or ends at
-- `expires_at`: it was surely never made, so it then counts for nothing.
CREATE TABLE relay.reservations (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org         text        NOT NULL,
    product     text        NOT NULL,
    lane        text        NOT NULL,
    calls       integer     NOT NULL CHECK (calls >= 0),
    slot        timestamptz NOT NULL,    -- where the credits of calls that are made are booked
    day_end     timestamptz,             -- until then: what is made later belongs to the next day
    expires_at  timestamptz NOT NULL
) WITH (autovacuum_analyze_scale_factor = 10, autovacuum_analyze_threshold = 1000000);

CREATE INDEX reservations_counting ON relay.reservations (org, product, expires_at);
