-- Reserve calls to a product for messages, most urgent first, in one decision. Arrays are parallel:
-- each message's priority (0 is the most urgent) and how many calls it needs; it gets all or none.
-- Returns a row per message: `reservation`, or NULL with, for the first refused of a priority, the
-- limit that is used up and the time to come back. Behind it, its priority gets nothing more.
--
-- p_limits: `lanes`, `shares` and `unpaced` by priority, `calls` per `window_s`, `credits` of a day in
-- `zone`, as in `relay.take_permit`; what is null does not exist. Calls in flight are not asked for.
CREATE OR REPLACE FUNCTION relay.reserve_calls(
    p_org text, p_product text, p_priority smallint[], p_calls integer[], p_deadline_s float8,
    p_limits jsonb, p_now timestamptz DEFAULT NULL
) RETURNS TABLE (item integer, reservation bigint, used_up text, retry_at timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at         timestamptz;
    told       relay.quota_told;
    day        record;
    counting   bigint;
    spent      bigint;
    pace       float8[] := '{}';
    share      float8;
    unpaced    float8;
    refused    smallint[] := '{}';
    booked     bigint := 0;
    calls      integer := p_limits ->> 'calls';
    window_s   float8 := coalesce((p_limits ->> 'window_s')::float8, 0);
    credits    bigint := p_limits ->> 'credits';
    slot       timestamptz;
    limit_name text;
    comes_back timestamptz;
    made       bigint;
BEGIN
    PERFORM relay.lock_quota(p_org, p_product);
    -- Read under the lock, so that the times of decisions are in the order of the decisions.
    at := coalesce(p_now, clock_timestamp());
    PERFORM relay.expire_reservations(p_org, p_product, at);
    SELECT * INTO told FROM relay.quota_told t WHERE t.org = p_org AND t.product = p_product;
    SELECT * INTO day FROM relay.quota_credits(p_org, p_product, credits, p_limits ->> 'zone', at);
    spent := day.spent;
    SELECT count(*) INTO counting FROM relay.permits p
    WHERE p.org = p_org AND p.product = p_product AND p.counts_until > at;
    SELECT counting + coalesce(sum(r.calls), 0) INTO counting FROM relay.reservations r
    WHERE r.org = p_org AND r.product = p_product AND r.expires_at > at;
    slot := greatest(relay.quota_slot(at), day.day_start);

    FOR priority IN 0 .. jsonb_array_length(p_limits -> 'shares') - 1 LOOP
        pace := pace || CASE WHEN (priority::smallint) = ANY (p_priority) THEN relay.quota_pace(
            p_org, p_product, at, day.day_start, day.day_end, day.spent,
            floor(day.day_limit * (p_limits -> 'shares' ->> priority)::float8),
            floor(day.day_limit * (p_limits -> 'unpaced' ->> priority)::float8)) END;
    END LOOP;

    FOR i IN 1 .. cardinality(p_calls) LOOP
        item := i;
        reservation := NULL;
        used_up := NULL;
        retry_at := NULL;
        IF p_priority[i] = ANY (refused) THEN
            RETURN NEXT;
            CONTINUE;
        END IF;
        share := p_limits -> 'shares' ->> p_priority[i];
        unpaced := p_limits -> 'unpaced' ->> p_priority[i];
        IF told.day_until > at THEN
            used_up := 'day';
            comes_back := told.day_until;
        ELSIF spent + p_calls[i] > floor(day.day_limit * share) THEN
            used_up := 'day';
            comes_back := coalesce(day.day_end, greatest(at + interval '1 minute', (
                SELECT min(s.slot) + interval '24 hours 15 minutes' FROM relay.quota_spent s
                WHERE s.org = p_org AND s.product = p_product AND s.slot >= day.day_start
                  AND s.credits > 0)), at + interval '1 hour');
        ELSIF spent + p_calls[i] > floor(day.day_limit * unpaced)
              AND spent >= pace[p_priority[i] + 1] THEN
            used_up := 'pace';
            comes_back := relay.quota_slot(at) + interval '15 minutes';
        ELSIF told.minute_until > at THEN
            used_up := 'minute';
            comes_back := told.minute_until;
        ELSIF calls IS NOT NULL
              AND counting + p_calls[i] > greatest(floor(calls * share), p_calls[i]) THEN
            used_up := 'minute';
            comes_back := least(
                relay.quota_minute_free(
                    p_org, p_product, at,
                    (counting + p_calls[i] - greatest(floor(calls * share), p_calls[i]))::bigint),
                at + make_interval(secs => window_s));
        ELSIF told.concurrency_until > at THEN
            used_up := 'concurrency';
            comes_back := told.concurrency_until;
        ELSE
            INSERT INTO relay.reservations (org, product, lane, calls, slot, expires_at)
            VALUES (p_org, p_product, p_limits -> 'lanes' ->> p_priority[i], p_calls[i], slot,
                    at + make_interval(secs => p_deadline_s))
            RETURNING id INTO reservation;
            counting := counting + p_calls[i];
            spent := spent + p_calls[i];
            booked := booked + p_calls[i];
            RETURN NEXT;
            CONTINUE;
        END IF;
        retry_at := greatest(comes_back, at + interval '1 millisecond');
        refused := refused || p_priority[i];
        RETURN NEXT;
    END LOOP;

    IF booked > 0 THEN
        INSERT INTO relay.quota_spent AS s (org, product, slot, credits)
        VALUES (p_org, p_product, slot, booked)
        ON CONFLICT ON CONSTRAINT quota_spent_pkey DO UPDATE
        SET credits = s.credits + excluded.credits;
    END IF;
END $$;
