CREATE SCHEMA IF NOT EXISTS relay;

-- One key per user, and one per organization and day, for what has no user yet.
-- A row without key material is a key that was destroyed: its owner gets no other one.
CREATE TABLE relay.data_keys (
    id uuid PRIMARY KEY,
    org text NOT NULL,
    owner text NOT NULL,                -- user:<user_id> or day:<YYYY-MM-DD>
    key_id text,                        -- the key of the ring that wraps this one
    wrapped bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,
    UNIQUE (org, owner),
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL)),
    CHECK ((wrapped IS NULL) = (key_id IS NULL))
);
