-- Inbox, line, versions and outbox of one service (design §5).

-- The order in which messages were first seen, and the places in the lines.
CREATE SEQUENCE {schema}.arrivals;

-- One row per message ever seen, kept long after it was handled, so that it is handled once.
--   waiting   seen, nobody has it
--   claimed   somebody has it until leased_until; every write of theirs is conditional on `claim`
--   done, given_up   settled; only a replay opens given_up again
-- `place` is where it stands in its subject's line. Null: not in line (settled, off the line while
-- it waits for what it names, or a message that needs none). The smallest place is next.
CREATE TABLE {schema}.inbox (
    org text NOT NULL,
    routing_key text NOT NULL,
    message_id text NOT NULL,
    source text NOT NULL,               -- the exchange it was first published to
    body_mac bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'claimed', 'done', 'given_up')),
    claim bigint NOT NULL DEFAULT 0,
    leased_until timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    subject text,
    arrived bigint NOT NULL,
    place bigint,
    code text,                          -- why it was given up
    replay text,                        -- the last replay that opened it again
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at timestamptz,
    PRIMARY KEY (org, routing_key, message_id)
);

CREATE INDEX inbox_line ON {schema}.inbox (org, subject, place) WHERE place IS NOT NULL;
CREATE INDEX inbox_settled ON {schema}.inbox USING brin (settled_at) WITH (pages_per_range = 16);

-- Whose line a thing belongs to, as the command said that named it first.
CREATE TABLE {schema}.line_names (
    org text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    subject text NOT NULL,
    PRIMARY KEY (org, kind, name)
);

CREATE INDEX line_names_subject ON {schema}.line_names (org, subject);

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
