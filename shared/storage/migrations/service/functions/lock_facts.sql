-- Lock facts, in sorted order, until the transaction ends. Recording a fact and going to wait for it
-- both take this lock, and look at each other's rows in a later statement: the snapshot of this one
-- is older than the lock, and would lose the wake-up.
CREATE OR REPLACE FUNCTION {schema}.lock_facts(p_org text[], p_kind text[], p_key text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(h.hash) FROM (
        SELECT DISTINCT
            hashtextextended(concat_ws(E'\x1f', '{schema}', f.org, f.kind, f.key), 0) AS hash
        FROM unnest(p_org, p_kind, p_key) AS f (org, kind, key)
        ORDER BY 1
    ) h;
END $$;
