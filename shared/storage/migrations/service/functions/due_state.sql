-- What a dispatcher that nobody woke asks first: `due`, `lease_messages` may find something; `later`,
-- something may come due by itself; `empty`, nothing can until a message is accepted or woken.
CREATE OR REPLACE FUNCTION {schema}.due_state(p_now timestamptz DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.lines)
       AND NOT EXISTS (SELECT FROM {schema}.inbox m WHERE m.state = 'look') THEN
        RETURN 'empty';
    END IF;
    IF EXISTS (SELECT FROM {schema}.lines l WHERE l.state = 'due'
               AND (l.leased_until IS NULL OR l.leased_until <= at))
       OR EXISTS (SELECT FROM {schema}.lines l WHERE l.state = 'later' AND l.due_at <= at)
       OR EXISTS (SELECT FROM {schema}.inbox m WHERE m.state = 'look' AND m.due_at <= at)
       OR EXISTS (SELECT FROM {schema}.lines l WHERE l.moving_to IS NOT NULL
                  AND (l.leased_until IS NULL OR l.leased_until <= at)) THEN
        RETURN 'due';
    END IF;
    RETURN 'later';
END $$;
