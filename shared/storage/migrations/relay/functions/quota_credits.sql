-- Return the day that `at` is in, and the credits spent in it: `own` by us, `spent` by all, with a
-- credit for each call that was reserved in it and is neither made nor given back. `reserved`: all such
-- calls, those of the day before too.
-- Zoho's own reset wins. Without one the day is `p_zone`'s. Without a zone it is the last 24 hours
-- (and up to 15 minutes more), and `day_end` is NULL.
CREATE OR REPLACE FUNCTION relay.quota_credits(
    p_org text, p_product text, p_credits bigint, p_zone text, at timestamptz,
    OUT day_start timestamptz, OUT day_end timestamptz,
    OUT own bigint, OUT spent bigint, OUT day_limit bigint, OUT reserved bigint
) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    told relay.quota_told;
BEGIN
    SELECT * INTO told FROM relay.quota_told t WHERE t.org = p_org AND t.product = p_product;
    IF told.resets_at > at THEN
        day_end := told.resets_at;
        day_start := greatest(told.day_began, day_end - interval '24 hours');
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
    SELECT coalesce(sum(r.calls), 0), own + coalesce(sum(r.calls) FILTER (WHERE r.slot >= day_start), 0)
    INTO reserved, spent FROM relay.reservations r
    WHERE r.org = p_org AND r.product = p_product AND r.expires_at > at;
    day_limit := p_credits;
    IF told.credits_told_until > at THEN
        spent := spent + told.credits_of_others;
        day_limit := coalesce(p_credits, told.credits_limit);
    END IF;
END $$;
