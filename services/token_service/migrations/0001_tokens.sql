-- Refresh tokens, by the hash that names them. The newest of an organization counts, whether it came
-- from the environment or from `zoho-relay oauth exchange`. Sealed, so that every replica can use it.
CREATE TABLE token.refresh_tokens (
    org         text        NOT NULL,
    sha256      bytea       NOT NULL,
    sealed      bytea       NOT NULL,
    source      text        NOT NULL CHECK (source IN ('environment', 'exchange')),
    scopes      text        NOT NULL DEFAULT '',
    stored_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org, sha256)
);

-- Access tokens, until they expire. `refresh_at`: from then on a new one is minted.
CREATE TABLE token.access_tokens (
    org         text        NOT NULL,
    sha256      bytea       NOT NULL,
    sealed      bytea       NOT NULL,
    client      bytea       NOT NULL,      -- fingerprint of the credentials it was minted with
    api_domain  text        NOT NULL,
    minted_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    refresh_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    invalid_at  timestamptz,
    PRIMARY KEY (org, sha256)
);

-- One row per request to the accounts server, written before the request: a replica that dies in
-- the middle has spent it all the same.
CREATE TABLE token.mints (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org         text        NOT NULL,
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome     text        NOT NULL DEFAULT 'unanswered'
);

CREATE INDEX mints_recent ON token.mints (org, asked_at);

-- The reason why no token is minted now, and the end of the pause. It holds for these credentials only.
CREATE TABLE token.pauses (
    org         text        NOT NULL,
    client      bytea       NOT NULL,
    code        text        NOT NULL,
    until       timestamptz NOT NULL,
    PRIMARY KEY (org, client)
);
