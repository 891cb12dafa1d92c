-- Record that a call was answered, or its answer lost: its slot is free, and its window runs from
-- now. Zoho's headers say what is left of the day, for everybody who spends it, and when it resets.
-- What exceeds our own spending is what others spent. `p_served`: refusals have ended.
CREATE OR REPLACE FUNCTION relay.permit_answered(
    p_permit bigint, p_window_s float8, p_org text, p_product text, p_served boolean,
    p_credits bigint, p_limit bigint, p_left bigint, p_resets_in_s float8, p_zone text,
    p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    at     timestamptz := coalesce(p_now, clock_timestamp());
    told   relay.quota_told;
    day    record;
    known  bigint;
    others bigint;
    flying bigint;
BEGIN
    UPDATE relay.permits
    SET in_flight_until = at, counts_until = at + make_interval(secs => p_window_s)
    WHERE id = p_permit;
    IF p_served THEN
        UPDATE relay.quota_told SET throttled_since = NULL
        WHERE org = p_org AND product = p_product AND throttled_since IS NOT NULL;
    END IF;
    IF p_left IS NULL AND p_resets_in_s IS NULL THEN
        RETURN;
    END IF;

    INSERT INTO relay.quota_told (org, product) VALUES (p_org, p_product) ON CONFLICT DO NOTHING;
    SELECT * INTO told FROM relay.quota_told t
    WHERE t.org = p_org AND t.product = p_product FOR UPDATE;
    -- Headers round to seconds. The same reset is not moved, or credits at its edge would be lost.
    IF abs(extract(epoch FROM at + make_interval(secs => p_resets_in_s) - told.resets_at)) > 5
       OR (p_resets_in_s IS NOT NULL AND told.resets_at IS NULL) THEN
        UPDATE relay.quota_told t
        SET day_began = CASE WHEN told.resets_at <= at THEN told.resets_at ELSE told.day_began END,
            resets_at = at + make_interval(secs => p_resets_in_s)
        WHERE t.org = p_org AND t.product = p_product;
    END IF;
    IF p_left IS NULL THEN
        RETURN;
    END IF;
    SELECT * INTO day FROM relay.quota_credits(p_org, p_product, p_credits, p_zone, at);
    -- What is in flight is in our count, and perhaps not yet in Zoho's.
    SELECT coalesce(sum(p.weight), 0) INTO flying FROM relay.permits p
    WHERE p.org = p_org AND p.product = p_product AND p.counts_until > at
      AND p.in_flight_until > at;
    known := coalesce(p_credits, p_limit, day.own - flying + p_left);
    others := known - p_left - day.own + flying;
    -- Fewer than we counted is believed only where the limit is the one that Zoho named.
    IF p_limit IS NULL OR p_credits <> p_limit THEN
        others := greatest(others, 0);
    END IF;
    UPDATE relay.quota_told t
    SET credits_limit = known, credits_of_others = others,
        -- Of a rolling day the headers are a snapshot: what others spent comes back at any moment.
        credits_told_until = coalesce(day.day_end, at + interval '30 minutes')
    WHERE t.org = p_org AND t.product = p_product;
END $$;
