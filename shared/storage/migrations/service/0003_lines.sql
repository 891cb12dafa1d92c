-- Messages that are accepted and not settled, the lines they stand in, and what became of the others.
--
-- Their tables are vacuumed often and at once, that of the lines most often, as each lease passes by
-- what left them. They are seldom analyzed: statistics change no plan here, and collecting them took a
-- tenth of the processor where messages come and go.

-- Numbers of claims. Never used twice, also when a line is made anew.
CREATE SEQUENCE {schema}.claims;

-- One row per message ever accepted, never changed. Its key alone decides what is a repetition.
CREATE TABLE {schema}.accepted_ids (
    org text NOT NULL,
    routing_key text NOT NULL,
    message_id text NOT NULL,
    body_mac bytea NOT NULL,
    accepted_at timestamptz NOT NULL,
    arrived bigint NOT NULL,            -- whoever finds its own number here has stored the message
    PRIMARY KEY (org, routing_key, message_id)
) WITH (autovacuum_analyze_scale_factor = 10, autovacuum_analyze_threshold = 1000000);

CREATE INDEX accepted_ids_age ON {schema}.accepted_ids USING brin (accepted_at)
    WITH (pages_per_range = 16);

-- Open messages, deleted when they are settled. The body is sealed under the organization's key of
-- the day, for the context `inbox:<org>:<routing_key>:<message_id>`.
--   in_line   waits for its turn and for `due_at`, and holds its line meanwhile
--   fact      off its line until the fact (`fact_kind`, `fact_key`) is recorded
--   look      off its line until `due_at`
-- `arrived` is the order of acceptance and never changes. `place` is where it stands: 1024 times a
-- number of the sequence `arrivals`, so that a message that is woken fits behind another. 0 is the
-- front of the line, for erasures.
CREATE TABLE {schema}.inbox (
    arrived bigint PRIMARY KEY,
    place bigint NOT NULL,
    org text NOT NULL,
    line text NOT NULL,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    route text NOT NULL,                -- its key in the table of routes
    message_id text NOT NULL,
    body_mac bytea NOT NULL,
    priority smallint NOT NULL,
    records text[],                     -- the kinds of facts that it may record
    state text NOT NULL DEFAULT 'in_line' CHECK (state IN ('in_line', 'fact', 'look')),
    attempt integer NOT NULL DEFAULT 0, -- that ended; the one under way is not counted yet
    lapses smallint NOT NULL DEFAULT 0, -- leases in a row that nobody ended
    claim bigint,                       -- of who gives it up because its wait is over
    due_at timestamptz NOT NULL,
    wait text CHECK (wait IN ('time', 'fact', 'look', 'person', 'release')),
    code text,                          -- under which it is given up when its wait ends
    reason text,
    product text,                       -- that waits for a person
    fact_kind text,
    fact_key text,
    last_look boolean NOT NULL DEFAULT false,
    waiting_since timestamptz,
    counted_s float8 NOT NULL DEFAULT 0,
    overdue_s float8 NOT NULL DEFAULT 0, -- of its wait: the product was paused, or no replica ran
    counted_at timestamptz,
    end_s float8,
    check_at timestamptz,               -- when the end of its wait is next counted
    correlation_id text,
    reply_to text,
    traceparent text,
    sent_at timestamptz,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    accepted_at timestamptz NOT NULL
) WITH (fillfactor = 95, autovacuum_vacuum_scale_factor = 0.2, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 10, autovacuum_analyze_threshold = 1000000);

-- Sealed bytes do not compress.
ALTER TABLE {schema}.inbox ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE INDEX inbox_turn ON {schema}.inbox (org, line, place, arrived)
    WHERE state = 'in_line';
CREATE INDEX inbox_priority ON {schema}.inbox (org, line, priority)
    WHERE state = 'in_line';
CREATE INDEX inbox_off_line ON {schema}.inbox (org, line) WHERE state <> 'in_line';
CREATE INDEX inbox_fact ON {schema}.inbox (org, fact_kind, fact_key)
    WHERE state = 'fact';
CREATE INDEX inbox_look ON {schema}.inbox (due_at) WHERE state = 'look';
CREATE INDEX inbox_check ON {schema}.inbox (check_at) WHERE check_at IS NOT NULL;
CREATE INDEX inbox_release ON {schema}.inbox (exchange, routing_key) WHERE wait = 'release';
CREATE INDEX inbox_recorders ON {schema}.inbox (org, arrived)
    WHERE records IS NOT NULL AND state <> 'fact';

-- A line is what waits under one ordering key: there is a row while a message stands in it. The
-- first of them is its head, at most one is leased.
--
-- A lease writes this row alone, and no indexed column of it, so it is a HOT update. Half of a page is
-- kept free for that. A lease that lapsed is found where the line is due. `moving_to`: it is moved
-- there once the leased message of it is settled.
CREATE TABLE {schema}.lines (
    org text NOT NULL,
    line text NOT NULL,
    state text NOT NULL CHECK (state IN ('due', 'later', 'empty')),
    head bigint NOT NULL,
    head_place bigint NOT NULL,
    head_route text NOT NULL,
    priority smallint NOT NULL,         -- the highest of its messages: the smallest number
    due_at timestamptz NOT NULL,
    lapses smallint NOT NULL DEFAULT 0, -- of the head
    claim bigint,                       -- of who works on `leased_arrived`
    leased_arrived bigint,
    leased_at timestamptz,
    leased_until timestamptz,
    leased_alone boolean,
    seen pg_snapshot,                   -- the transactions whose writes that attempt could read
    moving_to text,
    PRIMARY KEY (org, line)
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 10, autovacuum_analyze_threshold = 1000000);

CREATE INDEX lines_due ON {schema}.lines (org, head_route, priority, head_place)
    WHERE state = 'due';
CREATE INDEX lines_later ON {schema}.lines (due_at) WHERE state = 'later';
CREATE INDEX lines_moving ON {schema}.lines (org) WHERE moving_to IS NOT NULL;

-- In whose line a thing is dealt with. `named_by`: the message that named it. Null: it was made at
-- Zoho. A name is freed when that message is given up: `line` is null until the message is replayed,
-- or another names the same.
CREATE TABLE {schema}.names (
    org text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    line text,
    named_by bigint,
    PRIMARY KEY (org, kind, name)
);

CREATE INDEX names_line ON {schema}.names (org, line);
CREATE INDEX names_named_by ON {schema}.names (named_by) WHERE named_by IS NOT NULL;
-- Few among all, and looked for when they are pruned.
CREATE INDEX names_freed ON {schema}.names (named_by) WHERE line IS NULL;

-- Messages that name a thing which another message had named before and still does. When that one is
-- given up, the first of these that is open inherits the name, with whoever waits for the thing.
CREATE TABLE {schema}.name_heirs (
    org text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    arrived bigint NOT NULL,
    PRIMARY KEY (org, kind, name, arrived)
);

CREATE INDEX name_heirs_arrived ON {schema}.name_heirs (arrived);

-- Facts recorded lately, so that who goes to wait for one finds that it was recorded after the
-- handler looked. The facts themselves are in the services' own tables.
CREATE TABLE {schema}.recorded_facts (
    org text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    recorded_in xid8 NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (org, kind, key)
);

CREATE INDEX recorded_facts_age ON {schema}.recorded_facts USING brin (recorded_at)
    WITH (pages_per_range = 16);

-- Messages that were given up. The body is sealed under the user's key where one is known, for the
-- context `dead letter:<arrived>`; it is emptied when somebody settles the letter.
CREATE TABLE {schema}.dead_letters (
    arrived bigint PRIMARY KEY,
    org text NOT NULL,
    line text NOT NULL,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    route text NOT NULL,
    message_id text NOT NULL,
    priority smallint NOT NULL,
    records text[],
    first boolean NOT NULL DEFAULT false,
    body_mac bytea NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL,
    correlation_id text,
    reply_to text,
    traceparent text,
    sent_at timestamptz,
    headers jsonb NOT NULL,
    body bytea,
    given_up_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'replayed', 'discarded')),
    settled_by text,
    settled_at timestamptz
);

CREATE INDEX dead_letters_waiting ON {schema}.dead_letters (org, code, arrived)
    WHERE state = 'waiting';
CREATE INDEX dead_letters_age ON {schema}.dead_letters (given_up_at);

-- Messages that may have killed the processes that took them from the broker, by a digest of routing
-- key, message id and body. A row for each try at one: what is left of those that nobody took back is
-- a death, or the try under way.
CREATE TABLE {schema}.suspects (
    digest bytea NOT NULL,
    try uuid NOT NULL,
    noted_at timestamptz NOT NULL,
    PRIMARY KEY (digest, try)
);

-- What operators did to open messages by hand, and who did it.
CREATE TABLE {schema}.interventions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    arrived bigint NOT NULL,
    org text NOT NULL,
    routing_key text NOT NULL,
    message_id text NOT NULL,
    action text NOT NULL CHECK (action IN ('end_wait', 'give_up')),
    done_by text NOT NULL,
    done_at timestamptz NOT NULL
);

CREATE INDEX interventions_age ON {schema}.interventions (done_at);
