-- Every webhook that was accepted. The row outlives its body: it is how a repetition is known.
CREATE TABLE {schema}.webhooks (
    id uuid PRIMARY KEY,
    org text NOT NULL,
    product text NOT NULL,
    event text NOT NULL,
    event_mac bytea,                    -- of Zoho's event id. Null when it gave none.
    body bytea,                         -- as it came, sealed. Null once its retention is over.
    received_at timestamptz NOT NULL
);

CREATE UNIQUE INDEX webhooks_event ON {schema}.webhooks (org, product, event_mac)
    WHERE event_mac IS NOT NULL;
CREATE INDEX webhooks_received ON {schema}.webhooks USING brin (received_at)
    WITH (pages_per_range = 16);
