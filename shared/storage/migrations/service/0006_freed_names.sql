-- Names that were freed: few among all, and looked for when they are pruned.
CREATE INDEX names_freed ON {schema}.names (named_by) WHERE line IS NULL;
