-- The order of acceptance beside the id: whoever finds its own number there has stored the message.
ALTER TABLE {schema}.accepted_ids ADD COLUMN arrived bigint;
