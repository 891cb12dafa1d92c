-- Finds the effects of tickets that named no user, by the ticket, when an erasure makes them a user's.
CREATE INDEX effects_of_nobody ON relay.effects (org, split_part(business_id, ' ', 1))
    WHERE owner IS NULL AND product = 'desk';
