-- Reserve the calls of messages, given by their positions in the arrays, most urgent first. A row for
-- each message and product that it calls: the reservation, or NULL when it was refused. `used_up` and
-- `retry_in_s`: the limit, and when to come back, of the first refused of a priority. A message gets the calls to all its products, or none.
CREATE OR REPLACE FUNCTION {schema}.reserve_for_messages(
    p_org text[], p_priority smallint[], p_route text[], p_erased boolean[],
    p_call_route text[], p_call_product text[], p_calls integer[],
    p_limits jsonb, p_reservation_s float8, p_at timestamptz, p_now timestamptz DEFAULT NULL
) RETURNS TABLE (item integer, product text, reservation bigint, used_up text, retry_in_s float8)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_group record;
    v_items integer[];
    v_priorities smallint[];
    v_calls integer[];
    v_refused integer[] := '{}';
    v_reserved_for integer[] := '{}';
    v_products text[] := '{}';
    v_reserved bigint[] := '{}';
    v_used_up text[] := '{}';
    v_retry float8[] := '{}';
BEGIN
    FOR v_group IN
        SELECT k.org, c.product, array_agg(k.n::integer ORDER BY k.n) AS items,
               array_agg(c.calls ORDER BY k.n) AS calls
        FROM unnest(p_org, p_route, p_erased) WITH ORDINALITY AS k (org, route, erased, n)
        JOIN unnest(p_call_route, p_call_product, p_calls) AS c (route, product, calls)
          ON c.route = k.route
        WHERE NOT k.erased AND c.calls > 0
        GROUP BY k.org, c.product ORDER BY k.org, c.product
    LOOP
        -- What an earlier product refused asks for nothing more.
        SELECT array_agg(g.item ORDER BY g.n), array_agg(p_priority[g.item] ORDER BY g.n),
               array_agg(g.calls ORDER BY g.n)
        INTO v_items, v_priorities, v_calls
        FROM unnest(v_group.items, v_group.calls) WITH ORDINALITY AS g (item, calls, n)
        WHERE g.item <> ALL (v_refused);
        CONTINUE WHEN v_items IS NULL;

        SELECT v_reserved_for || array_agg(v_items[r.item] ORDER BY r.item),
               v_products || array_agg(v_group.product ORDER BY r.item),
               v_reserved || array_agg(r.reservation ORDER BY r.item),
               v_used_up || array_agg(r.used_up ORDER BY r.item),
               v_retry || array_agg(extract(epoch FROM r.retry_at - p_at)::float8 ORDER BY r.item),
               v_refused || array_agg(v_items[r.item]) FILTER (WHERE r.reservation IS NULL)
        INTO v_reserved_for, v_products, v_reserved, v_used_up, v_retry, v_refused
        FROM relay.reserve_calls(v_group.org, v_group.product, v_priorities, v_calls,
                                 p_reservation_s, p_limits -> v_group.product, p_now) r;
    END LOOP;

    IF v_refused <> '{}' AND EXISTS (
        SELECT FROM unnest(v_reserved_for, v_reserved) AS r (item, id)
        WHERE r.item = ANY (v_refused) AND r.id IS NOT NULL
    ) THEN
        PERFORM relay.give_back_calls(ARRAY(
            SELECT r.id FROM unnest(v_reserved_for, v_reserved) AS r (item, id)
            WHERE r.item = ANY (v_refused) AND r.id IS NOT NULL));
    END IF;
    RETURN QUERY
    SELECT r.item, r.product, CASE WHEN r.item <> ALL (v_refused) THEN r.id END, r.used_up,
           r.retry_in_s
    FROM unnest(v_reserved_for, v_products, v_reserved, v_used_up, v_retry)
         AS r (item, product, id, used_up, retry_in_s);
END $$;
