-- Whether a call would run ahead of its lane's pace. Up to `p_free` credits of the day nobody is
-- paced. Beyond, each 15 minutes may spend an even part of what then was left up to `p_cap`: what one
-- quarter of an hour leaves is spread over all later ones. The last call of a quarter may overdraw
-- it, or one of great weight would never be made.
CREATE OR REPLACE FUNCTION relay.quota_ahead(
    p_org text, p_product text, at timestamptz, p_start timestamptz, p_end timestamptz,
    p_spent bigint, p_cap float8, p_free float8, p_weight integer
) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    quarter timestamptz := greatest(relay.quota_slot(at), p_start);
    before float8;
    part   float8;
BEGIN
    IF p_cap IS NULL OR p_spent + p_weight <= p_free THEN
        RETURN false;
    END IF;
    SELECT greatest(p_spent - coalesce(sum(s.credits), 0), p_free) INTO before
    FROM relay.quota_spent s
    WHERE s.org = p_org AND s.product = p_product AND s.slot >= quarter;
    -- Rolling 24 hours have no end to pace for: an even part of all.
    part := CASE WHEN p_end IS NULL THEN (p_cap - p_free) / 96
        ELSE (p_cap - before) * least(900 / extract(epoch FROM p_end - quarter)::float8, 1) END;
    RETURN p_spent >= before + part;
END $$;
