-- Restores of this database. One row each, the last answered one has the highest id.
--   noticed     a service has found that this database is older than the work. Nothing is worked on.
--   open        what was done at Zoho between `since` and `begun_at` is not in this database. New
--               effects are looked for before they are done, until `search_until`.
--   ended       all that was looked for is settled, or an operator has ended it.
--   not_needed  an operator has found that nothing is missing.
CREATE TABLE relay.recoveries (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state         text        NOT NULL
                  CHECK (state IN ('noticed', 'open', 'ended', 'not_needed')),
    noticed_at    timestamptz,
    noticed_by    text,                    -- the service
    reason        text,
    since         timestamptz,             -- the moment of the backup
    begun_at      timestamptz,
    begun_by      text,
    search_until  timestamptz,
    ended_at      timestamptz,
    ended_by      text,
    CHECK (state NOT IN ('open', 'ended')
           OR since < begun_at AND begun_at < search_until AND begun_by IS NOT NULL)
);

CREATE UNIQUE INDEX recoveries_unanswered ON relay.recoveries (state)
    WHERE state IN ('noticed', 'open');

-- A number of each service's schema that rises with its work. It is published to the broker after it
-- is committed, so a database that is whole is never behind it.
CREATE TABLE relay.marks (
    schema     text        PRIMARY KEY,
    mark       bigint      NOT NULL,
    moved_at   timestamptz NOT NULL,
    recovery   bigint      NOT NULL DEFAULT 0   -- the last answered one that it has taken account of
) WITH (fillfactor = 50);

-- `presumed`: the intent was not ours to begin with. It stands for what may have been done before
-- the restore. `recovery_found`: it had been. `recovery_calls`: what looking for it cost.
ALTER TABLE relay.effects
    ADD COLUMN recovery bigint,
    ADD COLUMN presumed boolean NOT NULL DEFAULT false,
    ADD COLUMN recovery_found boolean NOT NULL DEFAULT false,
    ADD COLUMN recovery_calls integer NOT NULL DEFAULT 0;

CREATE INDEX effects_recovery ON relay.effects (recovery) WHERE recovery IS NOT NULL;
