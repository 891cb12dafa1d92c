-- Return the day that `at` is in, and the credits spent in it: `own` by us, `spent` by all, with a
-- credit for each call that is `reserved`, and neither made nor given back. `told`: what Zoho has told
-- of the product.
-- Zoho's own reset wins. Without one the day is `p_zone`'s. Without a zone it is the last 24 hours
-- (and up to 15 minutes more), and `day_end` is NULL.
CREATE OR REPLACE FUNCTION relay.quota_credits(
    p_org text, p_product text, p_credits bigint, p_zone text, at timestamptz,
    OUT day_start timestamptz, OUT day_end timestamptz,
    OUT own bigint, OUT spent bigint, OUT day_limit bigint, OUT reserved bigint,
    OUT told relay.quota_told
) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    SELECT * INTO told FROM relay.quota_told t WHERE t.org = p_org AND t.product = p_product;
    IF told.resets_at > at THEN
        day_end := told.resets_at;
        day_start := day_end - interval '24 hours';
        -- Headers round to seconds: a day that is said to begin a little late is the day that has begun.
        IF told.day_began > day_start - interval '5 seconds' THEN
            day_start := told.day_began;
        END IF;
    ELSIF told.resets_at > at - interval '24 hours' THEN
        day_start := told.resets_at;
        day_end := day_start + interval '24 hours';
    ELSIF p_zone IS NULL THEN
        day_start := relay.quota_slot(at - interval '24 hours');
    ELSE
        day_start := date_trunc('day', at, p_zone);
        day_end := date_trunc('day', (at AT TIME ZONE p_zone) + interval '1 day') AT TIME ZONE p_zone;
    END IF;
    SELECT coalesce(sum(s.credits), 0) INTO own FROM relay.quota_spent s
    WHERE s.org = p_org AND s.product = p_product AND s.slot >= day_start;
    SELECT coalesce(sum(r.calls), 0) INTO reserved FROM relay.reservations r
    WHERE r.org = p_org AND r.product = p_product AND r.expires_at > at;
    spent := own + reserved;
    day_limit := p_credits;
    IF told.credits_told_until > at THEN
        spent := spent + told.credits_of_others;
        day_limit := coalesce(p_credits, told.credits_limit);
    END IF;
END $$;
