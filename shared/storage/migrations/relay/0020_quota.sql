-- The quota ledger (design §6): what was spent of Zoho's limits, by PostgreSQL's clock.
--
-- A permit is a call. It is in flight until its answer, or its deadline (its worker died), and
-- counts in the sliding window until one window after that: Zoho may have received it at any
-- moment before. Rows that count for nothing any more are deleted as new ones are granted.
CREATE TABLE relay.permits (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org              text        NOT NULL,
    product          text        NOT NULL,
    lane             text        NOT NULL,
    weight           integer     NOT NULL CHECK (weight >= 0),
    granted_at       timestamptz NOT NULL,
    in_flight_until  timestamptz NOT NULL,
    counts_until     timestamptz NOT NULL
);

CREATE INDEX permits_counting ON relay.permits (org, product, counts_until);

-- Credits spent, in slots of 15 minutes: fine enough for a calendar day in any zone and for
-- rolling 24 hours, few enough to be summed in each decision.
CREATE TABLE relay.quota_spent (
    org      text        NOT NULL,
    product  text        NOT NULL,
    slot     timestamptz NOT NULL,
    credits  bigint      NOT NULL,
    PRIMARY KEY (org, product, slot)
);

-- What Zoho itself told: others spend the same quota, and Zoho may count in its own way.
CREATE TABLE relay.quota_told (
    org                  text   NOT NULL,
    product              text   NOT NULL,
    minute_until         timestamptz,     -- blocked until then, by the limit that Zoho named
    day_until            timestamptz,
    concurrency_until    timestamptz,
    throttled_since      timestamptz,     -- first of an unbroken row of refusals that name no limit
    credits_limit        bigint,          -- of a day, as Zoho's headers say
    credits_of_others    bigint NOT NULL DEFAULT 0,
    credits_told_until   timestamptz,     -- what others spent is forgotten then
    PRIMARY KEY (org, product)
);

CREATE FUNCTION relay.quota_slot(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT date_bin('15 minutes', moment, 'epoch'::timestamptz)
$$;

-- When the day began that `zone` is in; without a zone, 24 hours ago (and up to 15 minutes more).
CREATE FUNCTION relay.quota_day(moment timestamptz, zone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN zone IS NULL THEN relay.quota_slot(moment - interval '24 hours')
                ELSE date_trunc('day', moment, zone) END
$$;

-- Grant one call (`permit` is set), or name the limit that is used up and the time to come back.
-- Of every limit a lane may use `p_share`; a limit that is NULL does not exist.
-- Decisions of one (organization, product) are made one after another, under an advisory lock.
CREATE FUNCTION relay.take_permit(
    p_org text, p_product text, p_lane text, p_share float8, p_weight integer,
    p_calls integer, p_window_s float8, p_in_flight integer,
    p_credits bigint, p_zone text, p_deadline_s float8,
    OUT permit bigint, OUT wait_s float8, OUT used_up text,
    OUT calls_left bigint, OUT credits_left bigint
) LANGUAGE plpgsql AS $$
DECLARE
    at           timestamptz;
    told         relay.quota_told;
    day          timestamptz;
    counting     bigint;
    flying       bigint;
    spent        bigint := 0;
    day_limit    bigint;
    calls_share  bigint := greatest(floor(p_calls * p_share), 1);
    fly_share    bigint := greatest(floor(p_in_flight * p_share), 1);
    comes_back   timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('relay.permits'), hashtext(p_org || ' ' || p_product));
    at := clock_timestamp();
    SELECT * INTO told FROM relay.quota_told t WHERE t.org = p_org AND t.product = p_product;

    SELECT count(*), count(*) FILTER (WHERE p.in_flight_until > at) INTO counting, flying
    FROM relay.permits p WHERE p.org = p_org AND p.product = p_product AND p.counts_until > at;

    day := relay.quota_day(at, p_zone);
    SELECT coalesce(sum(s.credits), 0) INTO spent FROM relay.quota_spent s
    WHERE s.org = p_org AND s.product = p_product AND s.slot >= day;
    IF told.credits_told_until > at THEN
        spent := spent + told.credits_of_others;
        day_limit := coalesce(p_credits, told.credits_limit);
    ELSE
        day_limit := p_credits;
    END IF;

    calls_left := p_calls - counting;
    credits_left := day_limit - spent;

    IF told.day_until > at THEN
        used_up := 'day';
        comes_back := told.day_until;
    ELSIF spent + p_weight > floor(day_limit * p_share) THEN
        used_up := 'day';
        -- Rolling: some of it is free again when the oldest slot has left the 24 hours.
        comes_back := CASE WHEN p_zone IS NOT NULL
            THEN date_trunc('day', (at AT TIME ZONE p_zone) + interval '1 day') AT TIME ZONE p_zone
            ELSE greatest(at + interval '1 minute', (
                SELECT min(s.slot) + interval '24 hours 15 minutes' FROM relay.quota_spent s
                WHERE s.org = p_org AND s.product = p_product AND s.slot >= day AND s.credits > 0))
            END;
        comes_back := coalesce(comes_back, at + interval '1 hour');
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
    ELSIF p_in_flight IS NOT NULL AND flying >= fly_share THEN
        used_up := 'concurrency';
        comes_back := at + interval '50 milliseconds';
    END IF;

    IF used_up IS NOT NULL THEN
        wait_s := greatest(extract(epoch FROM comes_back - at)::float8, 0.001);
        RETURN;
    END IF;

    DELETE FROM relay.permits p
    WHERE p.org = p_org AND p.product = p_product AND p.counts_until <= at;
    INSERT INTO relay.permits (org, product, lane, weight, granted_at, in_flight_until, counts_until)
    VALUES (p_org, p_product, p_lane, p_weight, at, at + make_interval(secs => p_deadline_s),
            at + make_interval(secs => p_deadline_s + p_window_s))
    RETURNING id INTO permit;
    DELETE FROM relay.quota_spent s
    WHERE s.org = p_org AND s.product = p_product AND s.slot < at - interval '3 days';
    IF p_weight > 0 THEN
        INSERT INTO relay.quota_spent AS s (org, product, slot, credits)
        VALUES (p_org, p_product, relay.quota_slot(at), p_weight)
        ON CONFLICT (org, product, slot) DO UPDATE SET credits = s.credits + excluded.credits;
    END IF;
    calls_left := calls_left - 1;
    credits_left := credits_left - p_weight;
END $$;

-- The call was answered, or its answer is lost: the slot is free, the window runs from now.
CREATE FUNCTION relay.release_permit(p_permit bigint, p_window_s float8) RETURNS void
LANGUAGE sql AS $$
    UPDATE relay.permits
    SET in_flight_until = clock_timestamp(),
        counts_until = clock_timestamp() + make_interval(secs => p_window_s)
    WHERE id = p_permit
$$;

-- The request was surely never written: Zoho counts nothing, so neither do we.
CREATE FUNCTION relay.return_permit(p_permit bigint) RETURNS void
LANGUAGE sql AS $$
    WITH given_back AS (DELETE FROM relay.permits WHERE id = p_permit RETURNING *)
    UPDATE relay.quota_spent s SET credits = greatest(s.credits - g.weight, 0)
    FROM given_back g
    WHERE s.org = g.org AND s.product = g.product AND s.slot = relay.quota_slot(g.granted_at)
$$;

-- Zoho refused: nobody asks again before that. A refusal that names no limit (`concurrency`, CRM's
-- one 429 for two limits) and does not end within `p_patience_s` counts as a day that is used up.
CREATE FUNCTION relay.quota_refused(
    p_org text, p_product text, p_limit text, p_wait_s float8,
    p_patience_s float8, p_day_wait_s float8, OUT used_up text, OUT wait_s float8
) LANGUAGE plpgsql AS $$
DECLARE
    at    timestamptz := clock_timestamp();
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

-- Zoho served a call: refusals have ended. Its headers say what is left of the day, for everybody
-- who spends it; what exceeds our own spending is what others spent.
CREATE FUNCTION relay.quota_served(
    p_org text, p_product text, p_credits bigint, p_limit bigint, p_left bigint, p_zone text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    at     timestamptz := clock_timestamp();
    spent  bigint;
    known  bigint;
BEGIN
    IF p_left IS NULL THEN
        UPDATE relay.quota_told SET throttled_since = NULL
        WHERE org = p_org AND product = p_product AND throttled_since IS NOT NULL;
        RETURN;
    END IF;
    SELECT coalesce(sum(s.credits), 0) INTO spent FROM relay.quota_spent s
    WHERE s.org = p_org AND s.product = p_product AND s.slot >= relay.quota_day(at, p_zone);
    known := coalesce(p_limit, p_credits, spent + p_left);
    INSERT INTO relay.quota_told AS t
        (org, product, credits_limit, credits_of_others, credits_told_until)
    VALUES (p_org, p_product, known,
            greatest(known - p_left - spent, 0),
            CASE WHEN p_zone IS NULL THEN at + interval '24 hours'
                 ELSE date_trunc('day', (at AT TIME ZONE p_zone) + interval '1 day')
                      AT TIME ZONE p_zone END)
    ON CONFLICT (org, product) DO UPDATE
    SET credits_limit = excluded.credits_limit, credits_of_others = excluded.credits_of_others,
        credits_told_until = excluded.credits_told_until, throttled_since = NULL;
END $$;
