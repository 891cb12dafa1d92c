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
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    at         timestamptz;
    told       relay.quota_told;
    day        record;
    counting   bigint;
    spent      bigint;
    reserved   bigint;              -- by all, and may be given back at any moment
    credits    bigint := p_limits ->> 'credits';
    window_s   float8 := coalesce((p_limits ->> 'window_s')::float8, 0);
    in_window  integer := p_limits ->> 'calls';
    window_cap float8[];            -- by priority; NULL: no such limit
    day_cap    float8[];
    day_free   float8[];
    refused    smallint[] := '{}';
    slot       timestamptz;
    comes_back timestamptz;
    ids        bigint[] := '{}';
    items      integer[] := '{}';
    n          integer;
    wanted     bigint;
BEGIN
    PERFORM relay.lock_quota(p_org, p_product);
    -- Read under the lock, so that the times of decisions are in the order of the decisions.
    at := coalesce(p_now, clock_timestamp());
    SELECT * INTO day FROM relay.quota_credits(p_org, p_product, credits, p_limits ->> 'zone', at);
    told := day.told;
    SELECT count(*) + day.reserved INTO counting FROM relay.permits p
    WHERE p.org = p_org AND p.product = p_product AND p.counts_until > at;
    spent := day.spent;
    reserved := day.reserved;
    slot := greatest(relay.quota_slot(at), day.day_start);
    SELECT array_agg(floor(in_window * s.share::float8) ORDER BY s.n),
           array_agg(floor(day.day_limit * s.share::float8) ORDER BY s.n),
           array_agg(floor(day.day_limit * u.unpaced::float8) ORDER BY s.n)
    INTO window_cap, day_cap, day_free
    FROM jsonb_array_elements_text(p_limits -> 'shares') WITH ORDINALITY AS s (share, n)
    JOIN jsonb_array_elements_text(p_limits -> 'unpaced') WITH ORDINALITY AS u (unpaced, n)
      ON u.n = s.n;

    SELECT sum(c.calls) INTO wanted FROM unnest(p_calls) AS c (calls);
    IF NOT coalesce(greatest(told.day_until, told.minute_until, told.concurrency_until) > at, false)
       AND NOT EXISTS (
           SELECT FROM unnest(window_cap, day_cap, day_free) WITH ORDINALITY
               AS c (window_cap, day_cap, day_free, n)
           WHERE (c.n - 1)::smallint = ANY (p_priority)
             AND (counting + wanted > c.window_cap OR spent + wanted > c.day_cap
                  OR spent + wanted > c.day_free)) THEN
        -- There is enough for all of them, which is the common case.
        RETURN QUERY
        WITH made AS MATERIALIZED (
            SELECT nextval('relay.reservations_id_seq') AS id, g.priority, g.calls, g.n
            FROM unnest(p_priority, p_calls) WITH ORDINALITY AS g (priority, calls, n)
        ), stored AS (
            INSERT INTO relay.reservations (id, org, product, lane, calls, slot, day_end, expires_at)
            OVERRIDING SYSTEM VALUE
            SELECT m.id, p_org, p_product, p_limits -> 'lanes' ->> m.priority, m.calls, slot,
                   day.day_end, at + make_interval(secs => p_deadline_s)
            FROM made m
        )
        SELECT m.n::integer, m.id, NULL::text, NULL::timestamptz FROM made m;
        RETURN;
    END IF;

    FOR i IN 1 .. cardinality(p_calls) LOOP
        item := i;
        reservation := NULL;
        used_up := NULL;
        retry_at := NULL;
        IF p_priority[i] = ANY (refused) THEN
            RETURN NEXT;
            CONTINUE;
        END IF;
        n := p_priority[i] + 1;
        IF told.day_until > at THEN
            used_up := 'day';
            comes_back := told.day_until;
        ELSIF spent + p_calls[i] > day_cap[n] THEN
            used_up := 'day';
            comes_back := coalesce(day.day_end, least(
                CASE WHEN told.credits_told_until > at THEN told.credits_told_until END,
                greatest(at + interval '1 minute', (
                    SELECT min(s.slot) + interval '24 hours 15 minutes' FROM relay.quota_spent s
                    WHERE s.org = p_org AND s.product = p_product AND s.slot >= day.day_start
                      AND s.credits > 0))), at + interval '1 hour');
            IF spent - reserved + p_calls[i] <= day_cap[n] THEN
                comes_back := least(comes_back, at + interval '1 second');
            END IF;
        ELSIF spent + p_calls[i] > day_free[n] AND spent >= relay.quota_pace(
                p_org, p_product, at, day.day_start, day.day_end, day.spent, day_cap[n], day_free[n])
        THEN
            used_up := 'pace';
            comes_back := relay.quota_slot(at) + interval '15 minutes';
        ELSIF told.minute_until > at THEN
            used_up := 'minute';
            comes_back := told.minute_until;
        ELSIF counting > 0 AND counting + p_calls[i] > window_cap[n] THEN
            used_up := 'minute';
            comes_back := least(
                relay.quota_minute_free(
                    p_org, p_product, at,
                    least(counting, (counting + p_calls[i] - window_cap[n])::bigint)),
                at + make_interval(secs => window_s),
                CASE WHEN reserved > 0 THEN at + interval '1 second' END);
        ELSIF told.concurrency_until > at THEN
            used_up := 'concurrency';
            comes_back := told.concurrency_until;
        ELSE
            reservation := nextval('relay.reservations_id_seq');
            ids := ids || reservation;
            items := items || i;
            counting := counting + p_calls[i];
            spent := spent + p_calls[i];
            reserved := reserved + p_calls[i];
            RETURN NEXT;
            CONTINUE;
        END IF;
        retry_at := greatest(comes_back, at + interval '1 millisecond');
        refused := refused || p_priority[i];
        RETURN NEXT;
    END LOOP;

    IF ids <> '{}' THEN
        INSERT INTO relay.reservations (id, org, product, lane, calls, slot, day_end, expires_at)
        OVERRIDING SYSTEM VALUE
        SELECT g.id, p_org, p_product, p_limits -> 'lanes' ->> p_priority[g.item], p_calls[g.item],
               slot, day.day_end, at + make_interval(secs => p_deadline_s)
        FROM unnest(ids, items) AS g (id, item);
    END IF;
END $$;
