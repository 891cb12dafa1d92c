-- Grant one call (`permit` is set), or name the limit that is used up and the time to come back.
-- Of every limit a priority (`p_lane`) may use `p_share`. A limit that is NULL does not exist. Of the
-- day's credits it is not paced until `p_unpaced` of them are spent. From there on its share of what
-- is left is spread over the time left, 15 minutes at a time (`used_up` is 'pace').
-- Decisions of one (organization, product) are made one after another, under an advisory lock.
CREATE OR REPLACE FUNCTION relay.take_permit(
    p_org text, p_product text, p_lane text, p_share float8, p_unpaced float8, p_weight integer,
    p_heavy boolean, p_calls integer, p_window_s float8, p_in_flight integer,
    p_heavy_in_flight integer, p_credits bigint, p_zone text, p_deadline_s float8,
    p_now timestamptz DEFAULT NULL,
    OUT permit bigint, OUT wait_s float8, OUT used_up text,
    OUT calls_left bigint, OUT credits_left bigint
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    at           timestamptz;
    told         relay.quota_told;
    day          record;
    counting     bigint;
    flying       bigint;
    heavy_flying bigint;
    calls_share  bigint := greatest(floor(p_calls * p_share), 1);
    fly_share    bigint := greatest(floor(p_in_flight * p_share), 1);
    heavy_share  bigint := greatest(floor(p_heavy_in_flight * p_share), 1);
    quarter      timestamptz;
    comes_back   timestamptz;
BEGIN
    PERFORM relay.lock_quota(p_org, p_product);
    -- Read under the lock, so that the times of decisions are in the order of the decisions.
    at := coalesce(p_now, clock_timestamp());
    quarter := relay.quota_slot(at);
    SELECT * INTO day FROM relay.quota_credits(p_org, p_product, p_credits, p_zone, at);
    told := day.told;

    SELECT count(*), count(*) FILTER (WHERE p.in_flight_until > at),
           count(*) FILTER (WHERE p.in_flight_until > at AND p.heavy)
    INTO counting, flying, heavy_flying
    FROM relay.permits p WHERE p.org = p_org AND p.product = p_product AND p.counts_until > at;
    counting := counting + day.reserved;

    calls_left := p_calls - counting;
    credits_left := day.day_limit - day.spent;

    IF told.day_until > at THEN
        used_up := 'day';
        comes_back := told.day_until;
    ELSIF day.spent + p_weight > floor(day.day_limit * p_share) THEN
        used_up := 'day';
        -- Rolling: some of it is free again when the oldest slot has left the 24 hours.
        -- What others spent is forgotten sooner.
        comes_back := coalesce(day.day_end, least(
            CASE WHEN told.credits_told_until > at THEN told.credits_told_until END,
            greatest(at + interval '1 minute', (
                SELECT min(s.slot) + interval '24 hours 15 minutes' FROM relay.quota_spent s
                WHERE s.org = p_org AND s.product = p_product AND s.slot >= day.day_start
                  AND s.credits > 0))), at + interval '1 hour');
        -- What is reserved may be given back at any moment.
        IF day.spent - day.reserved + p_weight <= floor(day.day_limit * p_share) THEN
            comes_back := least(comes_back, at + interval '1 second');
        END IF;
    ELSIF relay.quota_ahead(p_org, p_product, at, day.day_start, day.day_end, day.spent,
                            floor(day.day_limit * p_share), floor(day.day_limit * p_unpaced),
                            p_weight) THEN
        used_up := 'pace';
        comes_back := quarter + interval '15 minutes';
    ELSIF told.minute_until > at THEN
        used_up := 'minute';
        comes_back := told.minute_until;
    ELSIF p_calls IS NOT NULL AND counting >= calls_share THEN
        used_up := 'minute';
        comes_back := relay.quota_minute_free(p_org, p_product, at, counting - calls_share + 1);
        -- One that is still in flight counts until long after, but is likely answered soon.
        comes_back := least(comes_back, at + make_interval(secs => p_window_s));
    ELSIF told.concurrency_until > at THEN
        used_up := 'concurrency';
        comes_back := told.concurrency_until;
    ELSIF (p_in_flight IS NOT NULL AND flying >= fly_share)
       OR (p_heavy AND p_heavy_in_flight IS NOT NULL AND heavy_flying >= heavy_share) THEN
        used_up := 'concurrency';
        comes_back := at + interval '50 milliseconds';
    END IF;

    IF used_up IS NOT NULL THEN
        wait_s := greatest(extract(epoch FROM comes_back - at)::float8, 0.001);
        RETURN;
    END IF;

    PERFORM relay.expire_calls(p_org, p_product, at);
    -- A reset within these 15 minutes begins a slot of its own, as what was spent before it is gone.
    quarter := greatest(quarter, day.day_start);
    INSERT INTO relay.permits (org, product, lane, weight, heavy, slot, granted_at,
                               in_flight_until, counts_until)
    VALUES (p_org, p_product, p_lane, p_weight, p_heavy, quarter, at,
            at + make_interval(secs => p_deadline_s),
            at + make_interval(secs => p_deadline_s + p_window_s))
    RETURNING id INTO permit;
    IF p_weight > 0 THEN
        PERFORM relay.book_credits(p_org, p_product, quarter, p_weight);
    END IF;
    calls_left := calls_left - 1;
    credits_left := credits_left - p_weight;
END $$;
