-- The order of acceptance, versions of subjects, and the outbox of one service.

-- The order in which messages are accepted, and the places in the lines.
CREATE SEQUENCE {schema}.arrivals;

CREATE TABLE {schema}.versions (
    org text NOT NULL,
    subject text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (org, subject)
) WITH (fillfactor = 80);

-- What is to be published. Bodies are sealed under the organization's key of the day, for the place
-- `message:<message_id>`. Until leased_until the process that wrote a row publishes it; then anyone.
CREATE TABLE {schema}.outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    id uuid PRIMARY KEY,
    org text NOT NULL,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    message_id text NOT NULL,
    body bytea NOT NULL,
    sealed boolean NOT NULL,            -- goes out as it is stored, else opened
    mandatory boolean NOT NULL,         -- is kept until a queue takes it
    properties jsonb NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    leased_until timestamptz NOT NULL,
    published_at timestamptz
);

CREATE INDEX outbox_pending ON {schema}.outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON {schema}.outbox USING brin (published_at)
    WITH (pages_per_range = 16);
