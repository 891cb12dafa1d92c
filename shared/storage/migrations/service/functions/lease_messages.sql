-- Lease the heads of due lines, by priority and age, and reserve their calls. Called in autocommit.
--
-- p_slots: how many at most of each priority, most urgent first. p_call_*: the calls to reserve for a
-- message of a route. p_closed_*: the products, by organization and priority, whose routes are passed
-- over.
-- p_limits: by product, its limits as `relay.reserve_calls` takes them.
--
-- Returns rows of five kinds: `message`; `reserved`, for which messages, of which products, under
-- which ids; `refused`, with organization, product, priority, the seconds to wait and (`code`) the limit; `alone`, a
-- message is due that must be leased alone, and the process is not idle; `undone`, all rows are void,
-- because the ledger refused who was confident. A body of more than 64 KiB comes empty: whoever works
-- on the message reads it then.
--
-- A line in which a lease lapsed is due like any other: taking it over is leasing it. The ledger is
-- asked last, one decision for each product, products sorted. A refusal changes no line.
--
-- All who ask a product's ledger wait for each other, until the commit. So whoever is confident takes
-- the lines before it asks. In the rare case of a refusal that is undone, and asked for once more.
CREATE OR REPLACE FUNCTION {schema}.lease_messages(
    p_orgs text[], p_routes text[],
    p_slot_priority smallint[], p_slots integer[], p_limit integer,
    p_call_route text[], p_call_product text[], p_calls integer[],
    p_closed_org text[], p_closed_product text[], p_closed_priority smallint[],
    p_limits jsonb, p_reservation_s float8, p_lease_s float8, p_idle boolean,
    p_answering_s float8,               -- for so long PostgreSQL has answered this process
    p_confident boolean,                -- the ledger granted all that was asked for last
    p_now timestamptz DEFAULT NULL
) RETURNS TABLE (
    kind text, org text, product text, message_priority smallint, retry_in_s float8,
    arrived bigint, claim bigint, line text, exchange text, routing_key text, route text,
    message_id text, attempt integer, alone boolean, erased boolean, correlation_id text,
    reply_to text, traceparent text, sent_at timestamptz, headers jsonb, body bytea,
    accepted_at timestamptz, waited_s float8, body_mac bytea, code text, reason text,
    first boolean, records text[],
    reserved_for bigint[], products text[], reservations bigint[]
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_first_are record;                 -- whether there is any: a look, a move, what came due
    v_try_org text[];
    v_try_route text[];
    v_try_priority smallint[];
    v_org text[] := '{}';
    v_row tid[] := '{}';                -- of the lines: locked, so they stay where they are
    v_lapsed boolean := false;
    v_head bigint[] := '{}';
    v_claim bigint[];
    v_priority smallint[] := '{}';
    v_route text[] := '{}';
    v_alone boolean[] := '{}';
    v_erased boolean[] := '{}';
    v_answers record;
    v_only integer[];                   -- the only place to look, if there is one
    v_locked tid[];
    v_picked record;
    v_first integer;
    v_want integer;
BEGIN
    -- What may wait for a lock comes first: from here on nothing does, until the ledger.
    SELECT EXISTS (SELECT FROM {schema}.inbox m WHERE m.state = 'look' AND m.due_at <= at) AS look,
           EXISTS (SELECT FROM {schema}.lines l WHERE l.moving_to IS NOT NULL
                   AND (l.leased_until IS NULL OR l.leased_until <= at)) AS move,
           EXISTS (SELECT FROM {schema}.lines l WHERE l.state = 'later' AND l.due_at <= at) AS later
    INTO v_first_are;
    IF v_first_are.look THEN
        PERFORM {schema}.wake_looks(256, at);
    END IF;
    IF v_first_are.move THEN
        PERFORM {schema}.finish_moves(at);
    END IF;
    IF v_first_are.later THEN
        UPDATE {schema}.lines l SET state = 'due'
        FROM (SELECT d.org, d.line FROM {schema}.lines d
              WHERE d.state = 'later' AND d.due_at <= at
              ORDER BY d.due_at LIMIT 256 FOR UPDATE SKIP LOCKED) d
        WHERE l.org = d.org AND l.line = d.line;
    END IF;

    -- Organizations, routes and priorities to look at. Where there are many, only those of which some
    -- line is due: one step along the index finds the next of them. It passes over what is settled and
    -- not vacuumed yet, as each look does, so it does not pay for a few.
    IF cardinality(p_orgs) * cardinality(p_routes) * cardinality(p_slots) > 16 THEN
        WITH RECURSIVE present AS (
            (SELECT l.org, l.head_route, l.priority FROM {schema}.lines l WHERE l.state = 'due'
             ORDER BY l.org, l.head_route, l.priority LIMIT 1)
            UNION ALL
            SELECT n.org, n.head_route, n.priority
            FROM present p
            CROSS JOIN LATERAL (
                SELECT l.org, l.head_route, l.priority FROM {schema}.lines l
                WHERE l.state = 'due'
                  AND (l.org, l.head_route, l.priority) > (p.org, p.head_route, p.priority)
                ORDER BY l.org, l.head_route, l.priority LIMIT 1
            ) n
        )
        SELECT array_agg(p.org), array_agg(p.head_route), array_agg(p.priority)
        INTO v_try_org, v_try_route, v_try_priority
        FROM present p WHERE p.org = ANY (p_orgs) AND p.head_route = ANY (p_routes);
    ELSE
        SELECT array_agg(o.org), array_agg(r.route), array_agg(s.priority)
        INTO v_try_org, v_try_route, v_try_priority
        FROM unnest(p_orgs) AS o (org), unnest(p_routes) AS r (route),
             unnest(p_slot_priority) AS s (priority);
    END IF;
    IF p_closed_org <> '{}' THEN
        SELECT array_agg(t.org), array_agg(t.route), array_agg(t.priority)
        INTO v_try_org, v_try_route, v_try_priority
        FROM unnest(v_try_org, v_try_route, v_try_priority) AS t (org, route, priority)
        WHERE (t.org, t.route, t.priority) NOT IN (
            SELECT c.org, k.route, c.priority
            FROM unnest(p_closed_org, p_closed_product, p_closed_priority)
                 AS c (org, product, priority)
            JOIN unnest(p_call_route, p_call_product) AS k (route, product)
              ON k.product = c.product);
    END IF;

    FOR i IN 1 .. cardinality(p_slots) LOOP
        v_want := least(p_slots[i], p_limit - cardinality(v_head));
        CONTINUE WHEN v_want <= 0 OR p_slot_priority[i] = ANY (v_try_priority) IS NOT TRUE;
        -- What changed after the statement began is looked at again when it is locked: it is passed over
        -- when it is not due any more, as is what another leaser has locked.
        v_only := array_positions(v_try_priority, p_slot_priority[i]);
        IF cardinality(v_only) = 1 THEN
            SELECT array_agg(l.at_row) INTO v_locked
            FROM (SELECT l.ctid AS at_row FROM {schema}.lines l
                  WHERE l.state = 'due' AND l.org = v_try_org[v_only[1]]
                    AND l.head_route = v_try_route[v_only[1]] AND l.priority = p_slot_priority[i]
                    AND l.moving_to IS NULL
                    AND (l.leased_until IS NULL OR l.leased_until <= at)
                  ORDER BY l.head_place LIMIT v_want FOR UPDATE SKIP LOCKED) l;
        ELSE
            -- The oldest of several: more candidates than are wanted, as other leasers look at the
            -- same ones.
            WITH near AS MATERIALIZED (
                SELECT n.at_row, n.head_place, t.route
                FROM unnest(v_try_org, v_try_route, v_try_priority) AS t (org, route, priority)
                CROSS JOIN LATERAL (
                    SELECT l.ctid AS at_row, l.head_place FROM {schema}.lines l
                    WHERE l.state = 'due' AND l.org = t.org AND l.head_route = t.route
                      AND l.priority = t.priority AND l.moving_to IS NULL
                      AND (l.leased_until IS NULL OR l.leased_until <= at)
                    ORDER BY l.head_place LIMIT v_want * 2 + 16
                ) n
                WHERE t.priority = p_slot_priority[i]
                ORDER BY n.head_place LIMIT v_want * 2 + 16
            )
            SELECT array_agg(l.at_row) INTO v_locked
            FROM (SELECT l.ctid AS at_row
                  FROM near n JOIN {schema}.lines l ON l.ctid = n.at_row
                  WHERE l.state = 'due' AND l.head_route = n.route
                    AND l.priority = p_slot_priority[i]
                    AND l.head_place = n.head_place AND l.moving_to IS NULL
                    AND (l.leased_until IS NULL OR l.leased_until <= at)
                  ORDER BY n.head_place LIMIT v_want FOR UPDATE OF l SKIP LOCKED) l;
        END IF;
        CONTINUE WHEN v_locked IS NULL;
        SELECT array_agg(p.org ORDER BY p.n) AS orgs, array_agg(p.at_row ORDER BY p.n) AS rows,
               array_agg(p.head ORDER BY p.n) AS heads, array_agg(p.route ORDER BY p.n) AS routes,
               array_agg(p.lapses >= 2 ORDER BY p.n) AS alone, bool_or(p.is_lapsed) AS lapsed,
               array_agg(p.head_place <> 0 AND p.line LIKE 'user:%' AND EXISTS (
                   SELECT FROM relay.tombstones t
                   WHERE t.org = p.org AND t.user_id = substring(p.line FROM 6))
                   ORDER BY p.n) AS erased
        INTO v_picked
        FROM (SELECT k.n, k.at_row, l.org, l.line, l.head, l.head_place, l.head_route AS route,
                     l.leased_arrived IS NOT NULL AS is_lapsed,
                     l.lapses + coalesce(l.leased_arrived = l.head, false)::integer AS lapses
              FROM unnest(v_locked) WITH ORDINALITY AS k (at_row, n)
              JOIN {schema}.lines l ON l.ctid = k.at_row) p;
        v_org := v_org || v_picked.orgs;
        v_row := v_row || v_picked.rows;
        v_lapsed := v_lapsed OR v_picked.lapsed;
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
                NULL::text[], NULL::bigint[], NULL::text[], NULL::bigint[];
        END IF;
        -- Idle: that one and nothing else. Else: all but such.
        SELECT array_agg(k.org ORDER BY k.n), array_agg(k.at_row ORDER BY k.n),
               array_agg(k.head ORDER BY k.n), array_agg(k.priority ORDER BY k.n),
               array_agg(k.route ORDER BY k.n), array_agg(k.alone ORDER BY k.n),
               array_agg(k.erased ORDER BY k.n)
        INTO v_org, v_row, v_head, v_priority, v_route, v_alone, v_erased
        FROM unnest(v_org, v_row, v_head, v_priority, v_route, v_alone, v_erased) WITH ORDINALITY
             AS k (org, at_row, head, priority, route, alone, erased, n)
        WHERE CASE WHEN p_idle THEN k.n = v_first ELSE NOT k.alone END;
    END IF;

    SELECT array_agg(nextval('{schema}.claims')) INTO v_claim
    FROM generate_series(1, cardinality(v_head));
    IF NOT p_confident THEN
        SELECT array_agg(a.item) AS items, array_agg(a.product) AS products,
               array_agg(a.reservation) AS reservations,
               array_agg(a.retry_in_s) AS retries, array_agg(a.used_up) AS used_up, bool_and(a.reservation IS NOT NULL) AS granted
        INTO v_answers
        FROM {schema}.reserve_for_messages(
            v_org, v_priority, v_route, v_erased, p_call_route, p_call_product, p_calls,
            p_limits, p_reservation_s, at, p_now) a;
        IF NOT v_answers.granted THEN
            RETURN QUERY
            SELECT 'refused'::text, v_org[a.item], a.product, v_priority[a.item], a.retry_in_s,
                NULL::bigint, NULL::bigint, NULL, NULL, NULL, NULL, NULL, NULL::integer,
                NULL::boolean, NULL::boolean, NULL, NULL, NULL, NULL::timestamptz, NULL::jsonb,
                NULL::bytea, NULL::timestamptz, NULL::float8, NULL::bytea, a.used_up, NULL, NULL::boolean,
                NULL::text[], NULL::bigint[], NULL::text[], NULL::bigint[]
            FROM unnest(v_answers.items, v_answers.products, v_answers.retries, v_answers.used_up)
                 AS a (item, product, retry_in_s, used_up)
            WHERE a.retry_in_s IS NOT NULL;

            -- The positions stay, because the answers name them.
            SELECT array_agg(CASE WHEN k.is_granted THEN k.at_row END ORDER BY k.n),
                   array_agg(CASE WHEN k.is_granted THEN k.head END ORDER BY k.n)
            INTO v_row, v_head
            FROM (SELECT h.*, NOT EXISTS (
                      SELECT FROM unnest(v_answers.items, v_answers.reservations)
                          AS a (item, reservation)
                      WHERE a.item = h.n AND a.reservation IS NULL) AS is_granted
                  FROM unnest(v_row, v_head) WITH ORDINALITY AS h (at_row, head, n)) k;
        END IF;
    END IF;

    BEGIN
        PERFORM {schema}.take_lines(v_row, v_claim, v_alone, v_lapsed, p_lease_s, p_answering_s, at);
        -- Before the ledger is asked, so that nobody waits for it.
        RETURN QUERY
        SELECT 'message'::text, m.org, NULL::text, k.priority, NULL::float8, m.arrived,
               k.claim, m.line, m.exchange, m.routing_key, m.route, m.message_id, m.attempt + 1,
               k.alone, k.erased, m.correlation_id, m.reply_to, m.traceparent, m.sent_at, m.headers,
               CASE WHEN octet_length(m.body) <= 65536 THEN m.body ELSE '' END,
               m.accepted_at,
               CASE WHEN m.wait IS NULL THEN 0
                    ELSE m.counted_s + {schema}.counted_s(m.counted_at, m.due_at, at) END,
               m.body_mac, NULL::text, NULL::text, m.place = 0, m.records,
               NULL::bigint[], NULL::text[], NULL::bigint[]
        FROM unnest(v_head, v_claim, v_priority, v_alone, v_erased) WITH ORDINALITY
             AS k (head, claim, priority, alone, erased, n)
        JOIN {schema}.inbox m ON m.arrived = k.head
        ORDER BY k.n;
        IF p_confident THEN
            SELECT array_agg(a.item) AS items, array_agg(a.product) AS products,
                   array_agg(a.reservation) AS reservations,
                   bool_and(a.reservation IS NOT NULL) AS granted
            INTO v_answers
            FROM {schema}.reserve_for_messages(
                v_org, v_priority, v_route, v_erased, p_call_route, p_call_product, p_calls,
                p_limits, p_reservation_s, at, p_now) a;
            IF NOT v_answers.granted THEN
                RAISE EXCEPTION 'refused' USING ERRCODE = 'ZR003';
            END IF;
        END IF;
    EXCEPTION WHEN SQLSTATE 'ZR003' THEN
        RETURN QUERY SELECT 'undone'::text, NULL, NULL, NULL::smallint, NULL::float8,
            NULL::bigint, NULL::bigint, NULL, NULL, NULL, NULL, NULL, NULL::integer,
            NULL::boolean, NULL::boolean, NULL, NULL, NULL, NULL::timestamptz, NULL::jsonb,
            NULL::bytea, NULL::timestamptz, NULL::float8, NULL::bytea, NULL, NULL, NULL::boolean,
            NULL::text[], NULL::bigint[], NULL::text[], NULL::bigint[];
        RETURN;
    END;
    IF v_answers.items IS NOT NULL THEN
        RETURN QUERY
        SELECT 'reserved'::text, NULL, NULL, NULL::smallint, NULL::float8,
            NULL::bigint, NULL::bigint, NULL, NULL, NULL, NULL, NULL, NULL::integer,
            NULL::boolean, NULL::boolean, NULL, NULL, NULL, NULL::timestamptz, NULL::jsonb,
            NULL::bytea, NULL::timestamptz, NULL::float8, NULL::bytea, NULL, NULL, NULL::boolean,
            NULL::text[], array_agg(v_head[a.item]), array_agg(a.product), array_agg(a.reservation)
        FROM unnest(v_answers.items, v_answers.products, v_answers.reservations)
             AS a (item, product, reservation)
        WHERE a.reservation IS NOT NULL;
    END IF;
END $$;
