-- Record a refusal of Zoho's: nobody asks again before it ends. A refusal that names no limit (`concurrency`, CRM's
-- one 429 for two limits) and does not end within `p_patience_s` counts as a day that is used up.
CREATE OR REPLACE FUNCTION relay.quota_refused(
    p_org text, p_product text, p_limit text, p_wait_s float8,
    p_patience_s float8, p_day_wait_s float8,
    p_now timestamptz DEFAULT NULL,
    OUT used_up text, OUT wait_s float8
) LANGUAGE plpgsql AS $$
DECLARE
    at    timestamptz := coalesce(p_now, clock_timestamp());
    since timestamptz;
BEGIN
    INSERT INTO relay.quota_told AS t (org, product, throttled_since)
    VALUES (p_org, p_product, CASE WHEN p_limit = 'concurrency' THEN at END)
    ON CONFLICT (org, product) DO UPDATE
    SET throttled_since = CASE WHEN p_limit = 'concurrency' THEN coalesce(t.throttled_since, at) END
    RETURNING t.throttled_since INTO since;
    used_up := p_limit;
    wait_s := p_wait_s;
    IF p_patience_s IS NOT NULL AND since < at - make_interval(secs => p_patience_s) THEN
        used_up := 'day';
        wait_s := p_day_wait_s;
    END IF;
    UPDATE relay.quota_told t SET
        minute_until = CASE used_up WHEN 'minute'
            THEN greatest(t.minute_until, at + make_interval(secs => wait_s)) ELSE t.minute_until END,
        day_until = CASE used_up WHEN 'day'
            THEN greatest(t.day_until, at + make_interval(secs => wait_s)) ELSE t.day_until END,
        concurrency_until = CASE used_up WHEN 'concurrency'
            THEN greatest(t.concurrency_until, at + make_interval(secs => wait_s))
            ELSE t.concurrency_until END,
        throttled_since = CASE used_up WHEN 'concurrency' THEN t.throttled_since END
    WHERE t.org = p_org AND t.product = p_product;
END $$;
