-- Return the seconds until the day's credits are used up at the pace of the last quarter of an hour
-- or two: infinite when the reset comes first, NULL when no limit is known.
CREATE OR REPLACE FUNCTION relay.quota_forecast(
    p_org text, p_product text, p_credits bigint, p_zone text,
    p_now timestamptz DEFAULT NULL
) RETURNS float8 LANGUAGE plpgsql STABLE AS $$
DECLARE
    at      timestamptz := coalesce(p_now, clock_timestamp());
    since   timestamptz := relay.quota_slot(at) - interval '15 minutes';
    day     record;
    lately  bigint;
    gone_s  float8;
BEGIN
    SELECT * INTO day FROM relay.quota_credits(p_org, p_product, p_credits, p_zone, at);
    IF EXISTS (SELECT FROM relay.quota_told t
               WHERE t.org = p_org AND t.product = p_product AND t.day_until > at) THEN
        RETURN 0;
    ELSIF day.day_limit IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(sum(s.credits), 0) INTO lately FROM relay.quota_spent s
    WHERE s.org = p_org AND s.product = p_product AND s.slot >= since;
    gone_s := CASE WHEN day.spent >= day.day_limit THEN 0 WHEN lately = 0 THEN 'Infinity'
        ELSE (day.day_limit - day.spent) * extract(epoch FROM at - since)::float8 / lately END;
    IF day.day_end IS NOT NULL AND gone_s > extract(epoch FROM day.day_end - at) THEN
        RETURN 'Infinity';
    END IF;
    RETURN gone_s;
END $$;
