-- Raise the versions of subjects, each by a count, and return them. Fails with ZR004 when one of the users
-- whom the events name asked to be forgotten.
CREATE OR REPLACE FUNCTION {schema}.raise_versions(
    p_org text[], p_subject text[], p_count bigint[], p_user_org text[], p_user_id text[]
) RETURNS TABLE (org text, subject text, version bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    base bigint := relay.version_base();
BEGIN
    IF cardinality(p_user_id) > 0 THEN
        PERFORM relay.refuse_erased_users(p_user_org, p_user_id);
    END IF;
    RETURN QUERY
    INSERT INTO {schema}.versions AS v (org, subject, version)
    SELECT r.org, r.subject, base + r.count
    FROM unnest(p_org, p_subject, p_count) AS r (org, subject, count)
    ON CONFLICT ON CONSTRAINT versions_pkey DO UPDATE
    SET version = greatest(v.version, base) + excluded.version - base
    RETURNING v.org, v.subject, v.version;
END $$;
