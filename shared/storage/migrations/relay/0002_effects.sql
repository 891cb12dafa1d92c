-- The journal of writes that Zoho would do twice if asked twice.
--
-- `number` is the intent's number: it rises with every act, and every statement of an act is
-- conditional on it, so of two replicas that both find the object absent only one acts again.
--   intended  may have been done. Nobody looks before `look_after`.
--   done      `result` holds what must be remembered, sealed under its owner's data key.
--   clear     surely not done. The next perform() starts afresh.
--   unknown   money that may have moved. Only a person decides.
CREATE TABLE relay.effects (
    org          text        NOT NULL,
    operation    text        NOT NULL,
    business_id  text        NOT NULL,
    product      text        NOT NULL,
    owner        text,                     -- the user whose data key seals the result, if one does
    state        text        NOT NULL DEFAULT 'intended'
                 CHECK (state IN ('intended', 'done', 'clear', 'unknown')),
    number       bigint      NOT NULL DEFAULT 1,
    write_until  timestamptz NOT NULL,     -- the request is not written after this moment
    look_after   timestamptz NOT NULL,     -- write_until + timeout + the operation's search lag
    -- When the act that is under way, or was the last, was intended. What Zoho shows from before it
    -- is no evidence about it: an invoice is often collected because an earlier charge was declined.
    intended_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    result       bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, operation, business_id),
    CHECK ((state = 'done') = (result IS NOT NULL))
);

-- Webhooks with ids that are not known yet ask whether anything of the organization is open.
CREATE INDEX effects_open ON relay.effects (org, product) WHERE state = 'intended';
CREATE INDEX effects_owner ON relay.effects (org, owner) WHERE owner IS NOT NULL;
