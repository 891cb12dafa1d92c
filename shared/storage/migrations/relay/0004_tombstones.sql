-- Users who asked to be erased. Written before any other step of an erasure. Every claim, flusher
-- and webhook of the user looks here first.
CREATE TABLE relay.tombstones (
    org text NOT NULL,
    user_id text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, user_id)
);
