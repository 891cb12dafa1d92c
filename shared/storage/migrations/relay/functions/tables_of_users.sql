-- The tables of a schema whose rows belong to users: those with the columns `org` and `user_id`.
CREATE OR REPLACE FUNCTION relay.tables_of_users(p_schema text) RETURNS TABLE (table_id oid)
LANGUAGE sql STABLE AS $$
    SELECT c.oid FROM pg_class c
    WHERE c.relnamespace = to_regnamespace(p_schema) AND c.relkind IN ('r', 'p')
      AND p_schema <> 'relay'
      AND 2 = (SELECT count(*) FROM pg_attribute a
               WHERE a.attrelid = c.oid AND a.attname IN ('org', 'user_id')
                 AND NOT a.attisdropped)
    ORDER BY c.relname
$$;
