-- When the act that is under way, or was the last, was intended. What Zoho shows from before it is
-- no evidence about it: an invoice is often collected because an earlier charge was declined.
ALTER TABLE relay.effects
    ADD COLUMN intended_at timestamptz NOT NULL DEFAULT clock_timestamp();
