-- Return whether a call would run ahead of its lane's pace (`relay.quota_pace`). The last call of a quarter
-- of an hour may overdraw it, or one of great weight would never be made.
CREATE OR REPLACE FUNCTION relay.quota_ahead(
    p_org text, p_product text, at timestamptz, p_start timestamptz, p_end timestamptz,
    p_spent bigint, p_cap float8, p_free float8, p_weight integer
) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_cap IS NULL OR p_spent + p_weight <= p_free THEN
        RETURN false;
    END IF;
    RETURN p_spent >= relay.quota_pace(p_org, p_product, at, p_start, p_end, p_spent, p_cap, p_free);
END $$;
