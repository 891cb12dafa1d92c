-- The ledger, deeper: a smaller limit of calls in flight for heavy calls (CRM), Zoho's own time of
-- the day's reset, a pace for the lower lanes so that a morning's backfill leaves the evening its
-- credits, and a forecast. The functions of 0020 stay for the release before this one.

ALTER TABLE relay.permits
    ADD COLUMN heavy boolean NOT NULL DEFAULT false,
    ADD COLUMN slot timestamptz;          -- where its credits are booked; null: by `granted_at`

-- `resets_at`: when the day's credits come back, as Zoho's headers say; past, it is when the present
-- day began. `day_began`: the reset before that one, where it was seen.
ALTER TABLE relay.quota_told
    ADD COLUMN day_began timestamptz,
    ADD COLUMN resets_at timestamptz;

-- The day that `at` is in, and the credits spent in it: `own` by us, `spent` with what others spent.
-- Zoho's own reset wins; without one the day is `p_zone`'s; without a zone it is the last 24 hours
-- (and up to 15 minutes more), and `day_end` is NULL.
CREATE FUNCTION relay.quota_credits(
    p_org text, p_product text, p_credits bigint, p_zone text, at timestamptz,
    OUT day_start timestamptz, OUT day_end timestamptz,
    OUT own bigint, OUT spent bigint, OUT day_limit bigint
) LANGUAGE plpgsql STABLE AS $$
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
    spent := own;
    day_limit := p_credits;
    IF told.credits_told_until > at THEN
        spent := spent + told.credits_of_others;
        day_limit := coalesce(p_credits, told.credits_limit);
    END IF;
END $$;

-- Grant one call (`permit` is set), or name the limit that is used up and the time to come back.
-- Of every limit a lane may use `p_share`; a limit that is NULL does not exist. Of the day's credits
-- a lane is not paced until `p_unpaced` of them are spent; from there on its share of what is left
-- is spread over the time left, 15 minutes at a time (`used_up` is 'pace').
-- Decisions of one (organization, product) are made one after another, under an advisory lock.
CREATE FUNCTION relay.take_permit(
    p_org text, p_product text, p_lane text, p_share float8, p_unpaced float8, p_weight integer,
    p_heavy boolean, p_calls integer, p_window_s float8, p_in_flight integer,
    p_heavy_in_flight integer, p_credits bigint, p_zone text, p_deadline_s float8,
    OUT permit bigint, OUT wait_s float8, OUT used_up text,
    OUT calls_left bigint, OUT credits_left bigint
) LANGUAGE plpgsql AS $$
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
    PERFORM pg_advisory_xact_lock(hashtext('relay.permits'), hashtext(p_org || ' ' || p_product));
    at := clock_timestamp();
    quarter := relay.quota_slot(at);
    SELECT * INTO told FROM relay.quota_told t WHERE t.org = p_org AND t.product = p_product;
    SELECT * INTO day FROM relay.quota_credits(p_org, p_product, p_credits, p_zone, at);

    SELECT count(*), count(*) FILTER (WHERE p.in_flight_until > at),
           count(*) FILTER (WHERE p.in_flight_until > at AND p.heavy)
    INTO counting, flying, heavy_flying
    FROM relay.permits p WHERE p.org = p_org AND p.product = p_product AND p.counts_until > at;

    calls_left := p_calls - counting;
    credits_left := day.day_limit - day.spent;

    IF told.day_until > at THEN
        used_up := 'day';
        comes_back := told.day_until;
    ELSIF day.spent + p_weight > floor(day.day_limit * p_share) THEN
        used_up := 'day';
        -- Rolling: some of it is free again when the oldest slot has left the 24 hours.
        comes_back := coalesce(day.day_end, greatest(at + interval '1 minute', (
            SELECT min(s.slot) + interval '24 hours 15 minutes' FROM relay.quota_spent s
            WHERE s.org = p_org AND s.product = p_product AND s.slot >= day.day_start
              AND s.credits > 0)), at + interval '1 hour');
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
        SELECT p.counts_until INTO comes_back FROM relay.permits p
        WHERE p.org = p_org AND p.product = p_product AND p.counts_until > at
        ORDER BY p.counts_until OFFSET counting - calls_share LIMIT 1;
        -- One that is still in flight counts until long after; it is likely answered soon.
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

    DELETE FROM relay.permits p
    WHERE p.org = p_org AND p.product = p_product AND p.counts_until <= at;
    DELETE FROM relay.quota_spent s
    WHERE s.org = p_org AND s.product = p_product AND s.slot < at - interval '3 days';
    -- A reset within these 15 minutes begins a slot of its own: what was spent before it is gone.
    quarter := greatest(quarter, day.day_start);
    INSERT INTO relay.permits (org, product, lane, weight, heavy, slot, granted_at,
                               in_flight_until, counts_until)
    VALUES (p_org, p_product, p_lane, p_weight, p_heavy, quarter, at,
            at + make_interval(secs => p_deadline_s),
            at + make_interval(secs => p_deadline_s + p_window_s))
    RETURNING id INTO permit;
    IF p_weight > 0 THEN
        INSERT INTO relay.quota_spent AS s (org, product, slot, credits)
        VALUES (p_org, p_product, quarter, p_weight)
        ON CONFLICT ON CONSTRAINT quota_spent_pkey DO UPDATE
        SET credits = s.credits + excluded.credits;
    END IF;
    calls_left := calls_left - 1;
    credits_left := credits_left - p_weight;
END $$;

-- Whether a call would run ahead of its lane's pace. Up to `p_free` credits of the day nobody is
-- paced. Beyond, each 15 minutes may spend an even part of what then was left up to `p_cap`: what one
-- quarter of an hour leaves is spread over all later ones. The last call of a quarter may overdraw
-- it, or one of great weight would never be made.
CREATE FUNCTION relay.quota_ahead(
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

-- The call was answered, or its answer is lost: the slot is free, the window runs from now. What
-- Zoho's headers said is noted: what is left of the day, for everybody who spends it, and when it
-- resets; what exceeds our own spending is what others spent. `p_served`: refusals have ended.
CREATE FUNCTION relay.permit_answered(
    p_permit bigint, p_window_s float8, p_org text, p_product text, p_served boolean,
    p_credits bigint, p_limit bigint, p_left bigint, p_resets_in_s float8, p_zone text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    at     timestamptz := clock_timestamp();
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
    -- Whole seconds tremble: the same reset is not moved, or credits at its edge would be lost.
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
    -- What is in flight is in our count and maybe not yet in Zoho's.
    SELECT coalesce(sum(p.weight), 0) INTO flying FROM relay.permits p
    WHERE p.org = p_org AND p.product = p_product AND p.in_flight_until > at;
    known := coalesce(p_credits, p_limit, day.own - flying + p_left);
    others := known - p_left - day.own + flying;
    -- Fewer than we counted is believed only of a limit that is Zoho's own word.
    IF p_limit IS NULL OR p_credits <> p_limit THEN
        others := greatest(others, 0);
    END IF;
    UPDATE relay.quota_told t
    SET credits_limit = known, credits_of_others = others,
        credits_told_until = coalesce(day.day_end, at + interval '24 hours')
    WHERE t.org = p_org AND t.product = p_product;
END $$;

-- Nothing was written, so nothing counts: as before, from where it was booked.
CREATE OR REPLACE FUNCTION relay.return_permit(p_permit bigint) RETURNS void
LANGUAGE sql AS $$
    WITH given_back AS (DELETE FROM relay.permits WHERE id = p_permit RETURNING *)
    UPDATE relay.quota_spent s SET credits = greatest(s.credits - g.weight, 0)
    FROM given_back g
    WHERE s.org = g.org AND s.product = g.product
      AND s.slot = coalesce(g.slot, relay.quota_slot(g.granted_at))
$$;

-- Seconds until the day's credits are used up at the pace of the last quarter of an hour or two:
-- infinite when the reset comes first, NULL when no limit is known.
CREATE FUNCTION relay.quota_forecast(
    p_org text, p_product text, p_credits bigint, p_zone text
) RETURNS float8 LANGUAGE plpgsql STABLE AS $$
DECLARE
    at      timestamptz := clock_timestamp();
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
