-- Finds a sealed value without opening it. `index` is an HMAC of the normalized value under the key
-- key_id of INDEX_KEYS. While keys rotate, a row has one entry per key in use.
CREATE TABLE {schema}.blind_index (
    org text NOT NULL,
    kind text NOT NULL,
    index bytea NOT NULL,
    key_id text NOT NULL,
    row text NOT NULL,                  -- our id of what is found: a user_id, a ticket's id, …
    user_id text,                       -- whose it is. Null: of nobody whom we know
    PRIMARY KEY (org, kind, index, key_id, row)
);

CREATE INDEX ON {schema}.blind_index (org, kind, row);
CREATE INDEX ON {schema}.blind_index (org, user_id);
