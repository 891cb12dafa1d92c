-- Return the credits of the day after which a priority runs ahead of its pace, until this quarter of
-- an hour is over. NULL when it is not paced. Up to `p_free` credits of the day nobody is paced. Beyond,
-- each 15 minutes may spend an even part of what was left then up to `p_cap`: what one quarter of an
-- hour leaves is spread over all later ones. `p_spent` is `spent` of `relay.quota_credits`: a call that is
-- reserved belongs to the 15 minutes that reserved it, and takes nothing of later ones.
CREATE OR REPLACE FUNCTION relay.quota_pace(
    p_org text, p_product text, at timestamptz, p_start timestamptz, p_end timestamptz,
    p_spent bigint, p_cap float8, p_free float8
) RETURNS float8 LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    quarter timestamptz := greatest(relay.quota_slot(at), p_start);
    before float8;
BEGIN
    IF p_cap IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT p_spent - coalesce(sum(s.credits), 0) INTO before FROM relay.quota_spent s
    WHERE s.org = p_org AND s.product = p_product AND s.slot >= quarter;
    SELECT greatest(before - coalesce(sum(r.calls), 0), p_free) INTO before FROM relay.reservations r
    WHERE r.org = p_org AND r.product = p_product AND r.expires_at > at AND r.slot >= quarter;
    -- Rolling 24 hours have no end to pace for: an even part of all.
    RETURN before + CASE WHEN p_end IS NULL THEN (p_cap - p_free) / 96
        ELSE (p_cap - before) * least(900 / extract(epoch FROM p_end - quarter)::float8, 1) END;
END $$;
