-- The seconds of a wait since it was counted last. Not more than twice what was meant, and a minute:
-- while no replica runs, nothing can end a wait.
CREATE OR REPLACE FUNCTION {schema}.counted_s(
    p_counted_at timestamptz, p_due_at timestamptz, p_now timestamptz
) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT greatest(0, least(
        extract(epoch FROM p_now - p_counted_at)::float8,
        extract(epoch FROM p_due_at - p_counted_at)::float8 * 2 + 60))
$$;
