-- The outcomes of accepted messages, with `erased` for those in the line of a user who asked to be
-- forgotten. An erasure itself goes on: it is what does the forgetting.
CREATE OR REPLACE FUNCTION {schema}.refuse_erased(
    p_org text[], p_line text[], p_first boolean[], p_outcome text[]
) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT array_agg(
        CASE WHEN g.outcome = 'new' AND NOT g.first AND g.line LIKE 'user:%' AND EXISTS (
                 SELECT FROM relay.tombstones t
                 WHERE t.org = g.org AND t.user_id = substring(g.line FROM 6))
        THEN 'erased' ELSE g.outcome END ORDER BY g.n)
    FROM unnest(p_org, p_line, p_first, p_outcome) WITH ORDINALITY
         AS g (org, line, first, outcome, n));
END $$;
