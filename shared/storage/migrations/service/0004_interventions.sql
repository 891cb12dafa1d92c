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
