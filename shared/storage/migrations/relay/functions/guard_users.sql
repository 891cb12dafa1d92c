-- Put the triggers that refuse erased users on all tables of a schema that lack them.
CREATE OR REPLACE FUNCTION relay.guard_users(p_schema text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    bare record;
BEGIN
    FOR bare IN
        SELECT c.oid::regclass AS name, 'relay.refuse_erased_user()' AS call, '' AS condition
        FROM relay.tables_of_users(p_schema) t JOIN pg_class c ON c.oid = t.table_id
        UNION ALL
        SELECT c.oid::regclass, 'relay.drop_erased_letter()', 'WHEN (NEW.line LIKE ''user:%'')'
        FROM pg_class c
        WHERE c.relnamespace = to_regnamespace(p_schema) AND c.relname = 'dead_letters'
        UNION ALL
        SELECT c.oid::regclass, 'relay.refuse_erased_effect()', 'WHEN (NEW.state = ''intended'')'
        FROM pg_class c
        WHERE c.relnamespace = 'relay'::regnamespace AND c.relname = 'effects'
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_trigger g WHERE g.tgrelid = bare.name AND g.tgname = 'refuse_erased');
        EXECUTE format('CREATE TRIGGER refuse_erased BEFORE INSERT ON %s FOR EACH ROW %s '
                       'EXECUTE FUNCTION %s', bare.name, bare.condition, bare.call);
    END LOOP;
END $$;
