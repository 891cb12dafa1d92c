-- Users who asked to be erased, and how far their erasure is. A tombstone is written by the transaction
-- that accepts the command, before any other step, and stays.
CREATE TABLE relay.tombstones (
    org text NOT NULL,
    user_id text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    asked_by text,                      -- an operator. Null: an application
    ended_at timestamptz,               -- all parts have ended, the key is destroyed, the receipt is out
    PRIMARY KEY (org, user_id)
);

CREATE INDEX tombstones_open ON relay.tombstones (asked_at) WHERE ended_at IS NULL;

-- The products whose part every erasure needs. A worker enters its own when it starts.
CREATE TABLE relay.erasing_products (
    product text PRIMARY KEY,
    service text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT now()
);

-- What a product has done for an erasure. `began_before`: later transactions see the tombstone. `found`:
-- Zoho's ids of what is the user's, sealed under the user's key until the part ends.
CREATE TABLE relay.erasure_parts (
    org text NOT NULL,
    user_id text NOT NULL,
    product text NOT NULL,
    began_at timestamptz NOT NULL,
    began_before xid8 NOT NULL,
    found bytea,
    refusals integer NOT NULL DEFAULT 0,    -- rounds in which Zoho refused something
    waits_for text,                         -- the code of what it waits for
    erased jsonb NOT NULL DEFAULT '[]',
    kept jsonb NOT NULL DEFAULT '[]',
    done_at timestamptz,                    -- Zoho has what it shall have
    ended_at timestamptz,                   -- and our rows are gone
    PRIMARY KEY (org, user_id, product),
    FOREIGN KEY (org, user_id) REFERENCES relay.tombstones
);
