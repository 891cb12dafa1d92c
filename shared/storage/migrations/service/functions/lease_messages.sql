-- Lease the heads of due lines, by priority and age, and reserve their calls. Called in autocommit.
--
-- p_try_*: the organizations, routes and priorities that are looked at. p_slots: how many at most of
-- each priority, most urgent first. p_call_*: the calls to reserve for a message of a route.
-- p_limits: by product, its limits as `relay.reserve_calls` takes them.
--
-- Returns rows of three kinds: `message`; `refused`, with organization, product, priority and the
-- seconds to wait; `alone`, a message is due that must be leased alone, and the process is not idle.
--
-- A line in which a lease lapsed is due like any other: taking it over is leasing it. The ledger is
-- asked last, one decision for each product, products sorted. A refusal changes no line.
CREATE OR REPLACE FUNCTION {schema}.lease_messages(
    p_try_org text[], p_try_route text[], p_try_priority smallint[],
    p_slot_priority smallint[], p_slots integer[], p_limit integer,
    p_call_route text[], p_call_product text[], p_calls integer[],
    p_limits jsonb, p_reservation_s float8, p_lease_s float8, p_idle boolean,
    p_answering_s float8,               -- for so long PostgreSQL has answered this process
    p_now timestamptz DEFAULT NULL
) RETURNS TABLE (
    kind text, org text, product text, message_priority smallint, retry_in_s float8,
    arrived bigint, claim bigint, line text, exchange text, routing_key text, route text,
    message_id text, attempt integer, alone boolean, erased boolean, correlation_id text,
    reply_to text, traceparent text, sent_at timestamptz, headers jsonb, body bytea,
    accepted_at timestamptz, waited_s float8, body_mac bytea, code text, reason text,
    first boolean, records text[], products text[], reservations bigint[]
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_org text[] := '{}';
    v_line text[] := '{}';
    v_head bigint[] := '{}';
    v_priority smallint[] := '{}';
    v_route text[] := '{}';
    v_alone boolean[] := '{}';
    v_erased boolean[] := '{}';
    v_reserved_at integer[] := '{}';
    v_product text[] := '{}';
    v_reservation bigint[] := '{}';
    v_refused integer[];
    v_picked record;
    v_group record;
    v_wanted record;
    v_answer record;
    v_first integer;
    v_want integer;
BEGIN
    IF EXISTS (SELECT FROM {schema}.lines l WHERE l.state = 'later' AND l.due_at <= at) THEN
        UPDATE {schema}.lines l SET state = 'due'
        FROM (SELECT d.org, d.line FROM {schema}.lines d
              WHERE d.state = 'later' AND d.due_at <= at
              ORDER BY d.due_at LIMIT 256 FOR UPDATE SKIP LOCKED) d
        WHERE l.org = d.org AND l.line = d.line;
    END IF;
    IF EXISTS (SELECT FROM {schema}.open_messages m WHERE m.state = 'look' AND m.due_at <= at) THEN
        PERFORM {schema}.wake_looks(256, at);
    END IF;
    IF EXISTS (SELECT FROM {schema}.lines l WHERE l.moving_to IS NOT NULL
               AND (l.leased_until IS NULL OR l.leased_until <= at)) THEN
        PERFORM {schema}.finish_moves(at);
    END IF;

    FOR i IN 1 .. cardinality(p_slots) LOOP
        v_want := least(p_slots[i], p_limit - cardinality(v_head));
        CONTINUE WHEN v_want <= 0;
        -- More candidates than are wanted: other leasers look at the same ones. What changed after
        -- this statement began fails its conditions when it is locked, and is passed over.
        WITH near AS MATERIALIZED (
            SELECT n.org, n.line, n.head_place, t.route
            FROM unnest(p_try_org, p_try_route, p_try_priority) AS t (org, route, priority)
            CROSS JOIN LATERAL (
                SELECT l.org, l.line, l.head_place FROM {schema}.lines l
                WHERE l.state = 'due' AND l.org = t.org AND l.head_route = t.route
                  AND l.priority = t.priority AND l.moving_to IS NULL
                  AND (l.leased_until IS NULL OR l.leased_until <= at)
                ORDER BY l.head_place LIMIT v_want * 3 + 16
            ) n
            WHERE t.priority = p_slot_priority[i]
            ORDER BY n.head_place LIMIT v_want * 3 + 16
        )
        SELECT array_agg(p.org) AS orgs, array_agg(p.line) AS lines, array_agg(p.head) AS heads,
               array_agg(p.route) AS routes, array_agg(p.lapses >= 2) AS alone,
               array_agg(p.head_place <> 0 AND p.line LIKE 'user:%' AND EXISTS (
                   SELECT FROM relay.tombstones t
                   WHERE t.org = p.org AND t.user_id = substring(p.line FROM 6))) AS erased
        INTO v_picked
        FROM (SELECT l.org, l.line, l.head, l.head_place, l.head_route AS route,
                     l.lapses + coalesce(l.leased_arrived = l.head, false)::integer AS lapses
              FROM near n JOIN {schema}.lines l ON l.org = n.org AND l.line = n.line
              WHERE l.state = 'due' AND l.head_route = n.route AND l.priority = p_slot_priority[i]
                AND l.head_place = n.head_place AND l.moving_to IS NULL
                AND (l.leased_until IS NULL OR l.leased_until <= at)
              ORDER BY n.head_place LIMIT v_want FOR UPDATE OF l SKIP LOCKED) p;
        CONTINUE WHEN v_picked.heads IS NULL;
        v_org := v_org || v_picked.orgs;
        v_line := v_line || v_picked.lines;
        v_head := v_head || v_picked.heads;
        v_route := v_route || v_picked.routes;
        v_alone := v_alone || v_picked.alone;
        v_erased := v_erased || v_picked.erased;
        v_priority := v_priority || array_fill(p_slot_priority[i], ARRAY[cardinality(v_picked.heads)]);
    END LOOP;

    v_first := array_position(v_alone, true);
    IF v_first IS NOT NULL THEN
        IF NOT p_idle THEN
            RETURN QUERY SELECT 'alone'::text, NULL, NULL, NULL::smallint, NULL::float8,
                NULL::bigint, NULL::bigint, NULL, NULL, NULL, NULL, NULL, NULL::integer,
                NULL::boolean, NULL::boolean, NULL, NULL, NULL, NULL::timestamptz, NULL::jsonb,
                NULL::bytea, NULL::timestamptz, NULL::float8, NULL::bytea, NULL, NULL, NULL::boolean,
                NULL::text[], NULL::text[], NULL::bigint[];
        END IF;
        -- Idle: that one and nothing else. Else: all but such.
        SELECT array_agg(k.org ORDER BY k.n), array_agg(k.line ORDER BY k.n),
               array_agg(k.head ORDER BY k.n), array_agg(k.priority ORDER BY k.n),
               array_agg(k.route ORDER BY k.n), array_agg(k.alone ORDER BY k.n),
               array_agg(k.erased ORDER BY k.n)
        INTO v_org, v_line, v_head, v_priority, v_route, v_alone, v_erased
        FROM unnest(v_org, v_line, v_head, v_priority, v_route, v_alone, v_erased) WITH ORDINALITY
             AS k (org, line, head, priority, route, alone, erased, n)
        WHERE CASE WHEN p_idle THEN k.n = v_first ELSE NOT k.alone END;
    END IF;

    FOR v_group IN
        SELECT k.org, c.product, array_agg(k.n::integer ORDER BY k.n) AS items,
               array_agg(k.priority ORDER BY k.n) AS priorities, array_agg(c.calls ORDER BY k.n) AS calls
        FROM unnest(v_org, v_priority, v_route, v_erased) WITH ORDINALITY
             AS k (org, priority, route, erased, n)
        JOIN unnest(p_call_route, p_call_product, p_calls) AS c (route, product, calls)
          ON c.route = k.route
        WHERE NOT k.erased AND c.calls > 0
        GROUP BY k.org, c.product ORDER BY k.org, c.product
    LOOP
        -- What an earlier product refused asks for nothing more.
        SELECT array_agg(g.item ORDER BY g.n) AS items,
               array_agg(g.priority ORDER BY g.n) AS priorities,
               array_agg(g.calls ORDER BY g.n) AS calls
        INTO v_wanted
        FROM unnest(v_group.items, v_group.priorities, v_group.calls) WITH ORDINALITY
             AS g (item, priority, calls, n)
        WHERE g.item <> ALL (coalesce(v_refused, '{}'));
        CONTINUE WHEN v_wanted.items IS NULL;

        FOR v_answer IN
            SELECT v_wanted.items[r.item] AS item, v_wanted.priorities[r.item] AS priority,
                   r.reservation, r.retry_at
            FROM relay.reserve_calls(v_group.org, v_group.product, v_wanted.priorities,
                                     v_wanted.calls, p_reservation_s,
                                     p_limits -> v_group.product, p_now) r
            ORDER BY r.item
        LOOP
            IF v_answer.reservation IS NOT NULL THEN
                v_reserved_at := v_reserved_at || v_answer.item;
                v_product := v_product || v_group.product;
                v_reservation := v_reservation || v_answer.reservation;
            ELSE
                v_refused := v_refused || v_answer.item;
                IF v_answer.retry_at IS NOT NULL THEN  -- the first of its priority
                    RETURN QUERY SELECT 'refused'::text, v_group.org, v_group.product,
                        v_answer.priority,
                        extract(epoch FROM v_answer.retry_at - at)::float8,
                        NULL::bigint, NULL::bigint, NULL, NULL, NULL, NULL, NULL, NULL::integer,
                        NULL::boolean, NULL::boolean, NULL, NULL, NULL, NULL::timestamptz,
                        NULL::jsonb, NULL::bytea, NULL::timestamptz, NULL::float8, NULL::bytea,
                        NULL, NULL, NULL::boolean, NULL::text[], NULL::text[], NULL::bigint[];
                END IF;
            END IF;
        END LOOP;
    END LOOP;

    IF v_refused IS NOT NULL AND v_reserved_at && v_refused THEN
        PERFORM relay.give_back_calls(ARRAY(
            SELECT r.id FROM unnest(v_reserved_at, v_reservation) AS r (item, id)
            WHERE r.item = ANY (v_refused)));
    END IF;

    -- Lapsed leases that are taken over: the attempt counts only when it says something about the
    -- message. Its process did nothing else, and PostgreSQL would have taken its renewals.
    UPDATE {schema}.open_messages m
    SET claim = NULL, lapses = m.lapses + 1,
        attempt = m.attempt - (NOT (l.leased_alone
            AND l.leased_at >= at - make_interval(secs => p_answering_s)
            AND l.leased_at >= pg_postmaster_start_time()))::integer
    FROM unnest(v_org, v_line) WITH ORDINALITY AS k (org, line, n)
    JOIN {schema}.lines l ON l.org = k.org AND l.line = k.line
    WHERE l.leased_arrived IS NOT NULL AND k.n <> ALL (coalesce(v_refused, '{}'))
      AND m.arrived = l.leased_arrived AND m.claim = l.claim;

    RETURN QUERY
    WITH taken AS (
        UPDATE {schema}.lines l
        SET claim = nextval('{schema}.claims'), leased_arrived = l.head, leased_at = at,
            lapses = l.lapses + coalesce(l.leased_arrived = l.head, false)::integer,
            leased_until = at + make_interval(secs => p_lease_s), leased_alone = k.alone
        FROM unnest(v_org, v_line, v_alone, v_erased) WITH ORDINALITY
             AS k (org, line, alone, erased, n)
        WHERE l.org = k.org AND l.line = k.line AND k.n <> ALL (coalesce(v_refused, '{}'))
        RETURNING l.org, l.line, l.priority, l.head, l.claim, k.alone, k.erased, k.n
    ), worked AS (
        UPDATE {schema}.open_messages m
        SET claim = t.claim, attempt = m.attempt + 1, seen = pg_current_snapshot()
        FROM taken t WHERE m.arrived = t.head
        RETURNING t.n, t.priority AS line_priority, t.alone, t.erased, m.*
    )
    SELECT 'message'::text, w.org, NULL::text, w.line_priority, NULL::float8, w.arrived,
           w.claim, w.line, w.exchange, w.routing_key, w.route, w.message_id, w.attempt, w.alone,
           w.erased, w.correlation_id, w.reply_to, w.traceparent, w.sent_at, w.headers, w.body,
           w.accepted_at,
           CASE WHEN w.wait IS NULL THEN 0
                ELSE w.counted_s + {schema}.counted_s(w.counted_at, w.due_at, at) END,
           w.body_mac, NULL::text, NULL::text, w.place = 0, w.records,
           ARRAY(SELECT r.product FROM unnest(v_reserved_at, v_product) AS r (item, product)
                 WHERE r.item = w.n),
           ARRAY(SELECT r.id FROM unnest(v_reserved_at, v_reservation) AS r (item, id)
                 WHERE r.item = w.n)
    FROM worked w ORDER BY w.n;
END $$;
