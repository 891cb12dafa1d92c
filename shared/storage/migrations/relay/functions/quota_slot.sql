-- Return the quarter of an hour that `moment` is in. Credits are booked by it.
CREATE OR REPLACE FUNCTION relay.quota_slot(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT date_bin('15 minutes', moment, 'epoch'::timestamptz)
$$;
