-- The lines of accepted messages: where it is NULL, that of the first thing the message names that
-- somebody named before, else its fallback.
CREATE OR REPLACE FUNCTION {schema}.lines_of_names(
    p_org text[], p_line text[], p_outcome text[], p_fallback text[],
    p_named_item integer[], p_named_kind text[], p_named_name text[]
) RETURNS text[] LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
    SELECT array_agg(
        CASE WHEN g.line IS NOT NULL OR g.outcome <> 'new' THEN g.line
             ELSE coalesce((
                SELECT x.line
                FROM unnest(p_named_item, p_named_kind, p_named_name) WITH ORDINALITY
                     AS n (item, kind, name, o)
                JOIN {schema}.names x ON x.org = g.org AND x.kind = n.kind AND x.name = n.name
                WHERE n.item = g.n AND x.line IS NOT NULL ORDER BY n.o LIMIT 1), g.fallback)
        END ORDER BY g.n)
    FROM unnest(p_org, p_line, p_outcome, p_fallback) WITH ORDINALITY
         AS g (org, line, outcome, fallback, n)
$$;
