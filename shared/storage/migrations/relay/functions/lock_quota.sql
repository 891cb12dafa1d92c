-- Let decisions about one (organization, product) follow one after another, until the transaction
-- ends.
CREATE OR REPLACE FUNCTION relay.lock_quota(p_org text, p_product text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('relay.permits'), hashtext(p_org || ' ' || p_product));
END $$;
