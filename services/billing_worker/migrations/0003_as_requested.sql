-- What a command asked for when it named a thing: the same id asked for differently is told apart from
-- the same command once more. Null: it was not a command, or one from before this was kept.
ALTER TABLE {schema}.subscriptions ADD COLUMN requested_plan text;
ALTER TABLE {schema}.invoices ADD COLUMN lines_sealed bytea;
