-- The least version of any subject. A restored database has forgotten the versions that it gave out,
-- and consumers drop what is not newer than the last they saw. So versions begin anew at the
-- microseconds since 1970 at which the recovery began: more than any before, and exact in JSON.
CREATE OR REPLACE FUNCTION relay.version_base() RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(max((extract(epoch FROM begun_at) * 1000000)::bigint), 0)
            FROM relay.recoveries);
END $$;
