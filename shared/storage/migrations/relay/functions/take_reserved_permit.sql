-- Turn one reserved call into a permit. Only concurrency is asked for, and what Zoho itself has
-- refused since: minute and day were decided when it was reserved.
--
-- `used_up` is `reservation` when nothing is left of it: ask `relay.take_permit`.
CREATE OR REPLACE FUNCTION relay.take_reserved_permit(
    p_reservation bigint, p_share float8, p_weight integer, p_heavy boolean, p_window_s float8,
    p_in_flight integer, p_heavy_in_flight integer, p_deadline_s float8,
    p_now timestamptz DEFAULT NULL,
    OUT permit bigint, OUT wait_s float8, OUT used_up text
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    at           timestamptz;
    reserved     relay.reservations;
    told         relay.quota_told;
    flying       bigint;
    heavy_flying bigint;
    comes_back   timestamptz;
    in_slot      timestamptz;
BEGIN
    SELECT * INTO reserved FROM relay.reservations r WHERE r.id = p_reservation;
    IF NOT FOUND THEN
        used_up := 'reservation';
        RETURN;
    END IF;
    PERFORM relay.lock_quota(reserved.org, reserved.product);
    at := coalesce(p_now, clock_timestamp());
    SELECT * INTO reserved FROM relay.reservations r
    WHERE r.id = p_reservation AND r.calls > 0 AND r.expires_at > at;
    IF NOT FOUND THEN
        used_up := 'reservation';
        RETURN;
    END IF;
    SELECT * INTO told FROM relay.quota_told t
    WHERE t.org = reserved.org AND t.product = reserved.product;
    SELECT count(*), count(*) FILTER (WHERE p.heavy) INTO flying, heavy_flying
    FROM relay.permits p
    WHERE p.org = reserved.org AND p.product = reserved.product AND p.counts_until > at
      AND p.in_flight_until > at;

    IF told.day_until > at THEN
        used_up := 'day';
        comes_back := told.day_until;
    ELSIF told.minute_until > at THEN
        used_up := 'minute';
        comes_back := told.minute_until;
    ELSIF told.concurrency_until > at THEN
        used_up := 'concurrency';
        comes_back := told.concurrency_until;
    ELSIF (p_in_flight IS NOT NULL AND flying >= greatest(floor(p_in_flight * p_share), 1))
       OR (p_heavy AND p_heavy_in_flight IS NOT NULL
           AND heavy_flying >= greatest(floor(p_heavy_in_flight * p_share), 1)) THEN
        used_up := 'concurrency';
        comes_back := at + interval '50 milliseconds';
    END IF;
    IF used_up IS NOT NULL THEN
        wait_s := greatest(extract(epoch FROM comes_back - at)::float8, 0.001);
        RETURN;
    END IF;

    -- Zoho counts it in the day in which it is made.
    in_slot := CASE WHEN at >= reserved.day_end THEN greatest(relay.quota_slot(at), reserved.day_end)
               ELSE reserved.slot END;
    UPDATE relay.reservations SET calls = calls - 1 WHERE id = p_reservation;
    INSERT INTO relay.permits (org, product, lane, weight, heavy, slot, granted_at,
                               in_flight_until, counts_until)
    VALUES (reserved.org, reserved.product, reserved.lane, p_weight, p_heavy, in_slot, at,
            at + make_interval(secs => p_deadline_s),
            at + make_interval(secs => p_deadline_s + p_window_s))
    RETURNING id INTO permit;
    IF p_weight > 0 THEN
        PERFORM relay.book_credits(reserved.org, reserved.product, in_slot, p_weight);
    END IF;
END $$;
