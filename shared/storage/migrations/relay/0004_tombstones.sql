-- Users who asked to be forgotten. Written before anything else of an erasure is done; every claim,
-- flusher and webhook of the user looks here first.
CREATE TABLE relay.tombstones (
    org text NOT NULL,
    user_id text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, user_id)
);
