-- The seconds after which a wait of this length is counted again: a twentieth of it.
CREATE OR REPLACE FUNCTION {schema}.count_step_s(p_end_s float8) RETURNS float8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT least(greatest(p_end_s / 20, 1), p_end_s)
$$;
