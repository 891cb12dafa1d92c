-- Delete all rows of a user from a service's schema, whatever tables it has, and the user's dead letters.
CREATE OR REPLACE FUNCTION relay.erase_rows(p_schema text, p_org text, p_user_id text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN SELECT t.table_id::regclass FROM relay.tables_of_users(p_schema) t LOOP
        EXECUTE format('DELETE FROM %s WHERE org = $1 AND user_id = $2', v_table)
        USING p_org, p_user_id;
    END LOOP;
    EXECUTE format('DELETE FROM %I.dead_letters WHERE org = $1 AND line = $2', p_schema)
    USING p_org, 'user:' || p_user_id;
END $$;
