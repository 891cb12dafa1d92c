-- Webhooks without an id of Zoho's. A MAC of the body shows which of them are repetitions. A row is
-- there from when one is stored until a worker has handled it. After that the same body means
-- something new (a state that came back), and must not be taken for a repetition.
CREATE TABLE relay.open_webhooks (
    org text NOT NULL,
    product text NOT NULL,
    body_mac bytea NOT NULL,
    webhook_id uuid NOT NULL UNIQUE,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org, product, body_mac)
);
