-- Accept a group of messages in its order. Arrays are parallel, one element per message; p_named_*
-- and p_names_* are lists of their own whose first element is the message's position. Returns one row
-- per message: `new`, `repeated`, `reused`, `given_up`, or `erased` (nothing was stored).
--
-- What p_lease says may be leased at once is, where its line is new and the ledger grants its calls:
-- then its row has the claim, the line and the reservations, and no `lease_messages` finds it.
--
-- Locks are taken in the order ids, names, lines, each sorted, then the ledger. Every statement sees
-- what was committed before it began.
CREATE OR REPLACE FUNCTION {schema}.accept_messages(
    p_org text[], p_exchange text[], p_routing_key text[], p_route text[], p_message_id text[],
    p_macs bytea[],                     -- the MAC under each key in use, 32 bytes each, in a row
    p_priority smallint[], p_user_id text[], p_fallback text[],
    p_named_item integer[], p_named_kind text[], p_named_name text[],
    p_names_item integer[], p_names_kind text[], p_names_name text[],
    p_first boolean[],                  -- to the front of its line, which it ends; never `erased`
    p_given_up boolean[],               -- only the id is stored
    p_wait_code text[], p_wait_reason text[], p_wait_end_s float8[],
    p_records text[],                   -- kinds, separated by commas; NULL: none
    p_correlation_id text[], p_reply_to text[], p_traceparent text[], p_sent_at timestamptz[],
    p_headers text[], p_body bytea[],
    p_lease boolean[],                  -- lease it at once, if its line is new
    p_call_route text[], p_call_product text[], p_calls integer[],
    p_limits jsonb, p_reservation_s float8, p_lease_s float8,
    p_now timestamptz DEFAULT NULL
) RETURNS TABLE (
    item integer, outcome text, arrived bigint,
    line text, claim bigint, products text[], reservations bigint[]     -- of those leased
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_outcome text[];
    v_arrived bigint[];
    v_line text[];
    v_moved_org text[];
    v_moved_from text[];
    v_moved_to text[];
    v_locked_org text[];
    v_locked_line text[];
    v_claim bigint[];
    v_stored bigint[];                  -- claims that lines were stored with
    v_leased integer[];                 -- positions
    v_leased_org text[];
    v_leased_priority smallint[];
    v_leased_route text[];
    v_reserved_for integer[];
    v_product text[];
    v_reserved bigint[];
BEGIN
    SELECT array_agg(nextval('{schema}.arrivals')) INTO v_arrived
    FROM generate_series(1, cardinality(p_org));
    INSERT INTO {schema}.accepted_ids
        (org, routing_key, message_id, body_mac, accepted_at, arrived)
    SELECT DISTINCT ON (g.org, g.routing_key, g.message_id)
           g.org, g.routing_key, g.message_id, substring(g.macs FOR 32), at, g.arrived
    FROM unnest(p_org, p_routing_key, p_message_id, p_macs, v_arrived)
         AS g (org, routing_key, message_id, macs, arrived)
    ORDER BY g.org, g.routing_key, g.message_id, g.arrived
    ON CONFLICT DO NOTHING;

    -- In a later statement, because the snapshot of the first may be older than another's commit. A
    -- row with the number of this message is this call's.
    SELECT array_agg(
               CASE WHEN a.arrived = g.arrived THEN CASE WHEN g.given_up THEN 'given_up' ELSE 'new' END
                    WHEN position(a.body_mac IN g.macs) > 0 THEN 'repeated'
                    ELSE 'reused' END ORDER BY g.n),
           array_agg(
               CASE WHEN a.arrived IS DISTINCT FROM g.arrived OR g.given_up THEN NULL
                    WHEN g.user_id IS NOT NULL THEN 'user:' || g.user_id
                    WHEN g.n = ANY (p_named_item) THEN NULL
                    ELSE coalesce(
                        g.fallback, concat_ws(':', 'message', g.routing_key, g.message_id))
               END ORDER BY g.n)
    INTO v_outcome, v_line
    FROM unnest(p_org, p_routing_key, p_message_id, p_macs, p_given_up, p_user_id, p_fallback,
                v_arrived) WITH ORDINALITY
         AS g (org, routing_key, message_id, macs, given_up, user_id, fallback, arrived, n)
    LEFT JOIN LATERAL (
        SELECT a.arrived, a.body_mac FROM {schema}.accepted_ids a
        WHERE a.org = g.org AND a.routing_key = g.routing_key AND a.message_id = g.message_id OFFSET 0
    ) a ON true;

    -- Users who asked to be forgotten; once for the lines of users, once for those found by a name.
    v_outcome := {schema}.refuse_erased(p_org, v_line, p_first, v_outcome);

    IF 'new' = ANY (v_outcome) AND cardinality(p_names_item) + cardinality(p_named_item) > 0 THEN
        WITH made AS (
            INSERT INTO {schema}.names AS x (org, kind, name, line, named_by)
            SELECT DISTINCT ON (1, 2, 3)
                   p_org[n.item], n.kind, n.name, v_line[n.item], v_arrived[n.item]
            FROM unnest(p_names_item, p_names_kind, p_names_name) AS n (item, kind, name)
            WHERE v_line[n.item] IS NOT NULL AND v_outcome[n.item] = 'new'
            ORDER BY 1, 2, 3, n.item
            ON CONFLICT ON CONSTRAINT names_pkey DO UPDATE  -- of one that was freed
            SET line = excluded.line, named_by = excluded.named_by WHERE x.line IS NULL
            RETURNING x.org, x.kind || ':' || x.name AS own, x.line
        )
        SELECT array_agg(m.org), array_agg(m.own), array_agg(m.line)
        INTO v_moved_org, v_moved_from, v_moved_to
        FROM made m WHERE m.own <> m.line;

        IF cardinality(p_named_item) > 0 THEN
            v_line := {schema}.lines_of_names(
                p_org, v_line, v_outcome, p_fallback, p_named_item, p_named_kind, p_named_name);
            v_outcome := {schema}.refuse_erased(p_org, v_line, p_first, v_outcome);

            WITH made AS (
                INSERT INTO {schema}.names AS x (org, kind, name, line, named_by)
                SELECT DISTINCT ON (1, 2, 3)
                       p_org[n.item], n.kind, n.name, v_line[n.item], v_arrived[n.item]
                FROM unnest(p_names_item, p_names_kind, p_names_name) AS n (item, kind, name)
                WHERE v_line[n.item] IS NOT NULL AND v_outcome[n.item] = 'new'
                  AND n.item = ANY (p_named_item)
                ORDER BY 1, 2, 3, n.item
                ON CONFLICT ON CONSTRAINT names_pkey DO UPDATE
                SET line = excluded.line, named_by = excluded.named_by WHERE x.line IS NULL
                RETURNING x.org, x.kind || ':' || x.name AS own, x.line
            )
            SELECT v_moved_org || array_agg(m.org), v_moved_from || array_agg(m.own),
                   v_moved_to || array_agg(m.line)
            INTO v_moved_org, v_moved_from, v_moved_to
            FROM made m WHERE m.own <> m.line;

            -- What stands in the line of its own name locks that line first, then looks once more:
            -- whoever records the name locks it too, and one of both finds the other.
            SELECT array_agg(g.org), array_agg(g.line) INTO v_locked_org, v_locked_line
            FROM unnest(p_org, v_line, p_fallback, v_outcome) WITH ORDINALITY
                 AS g (org, line, fallback, outcome, n)
            WHERE g.outcome = 'new' AND g.line = g.fallback AND g.n = ANY (p_named_item);
            IF v_locked_org IS NOT NULL THEN
                PERFORM {schema}.lock_lines(v_locked_org, v_locked_line);
                v_line := {schema}.lines_of_names(
                    p_org, (SELECT array_agg(
                                CASE WHEN g.line = g.fallback AND g.n = ANY (p_named_item)
                                THEN NULL ELSE g.line END ORDER BY g.n)
                            FROM unnest(v_line, p_fallback) WITH ORDINALITY AS g (line, fallback, n)),
                    v_outcome, p_fallback, p_named_item, p_named_kind, p_named_name);
            END IF;
        END IF;
        IF cardinality(p_names_item) > 0 THEN
            -- The rows of these names are locked until the commit: nobody gives up who has one.
            INSERT INTO {schema}.name_heirs (org, kind, name, arrived)
            SELECT x.org, x.kind, x.name, v_arrived[n.item]
            FROM unnest(p_names_item, p_names_kind, p_names_name) AS n (item, kind, name)
            JOIN {schema}.names x
              ON x.org = p_org[n.item] AND x.kind = n.kind AND x.name = n.name
            WHERE v_outcome[n.item] = 'new' AND x.named_by <> v_arrived[n.item]
            ORDER BY 1, 2, 3, 4
            ON CONFLICT DO NOTHING;
        END IF;
    END IF;

    IF 'erased' = ANY (v_outcome) THEN
        DELETE FROM {schema}.accepted_ids a
        USING unnest(p_org, p_routing_key, p_message_id, v_outcome)
              AS e (org, routing_key, message_id, outcome)
        WHERE e.outcome = 'erased' AND a.org = e.org AND a.routing_key = e.routing_key
          AND a.message_id = e.message_id;
    END IF;

    IF v_moved_org IS NOT NULL OR v_locked_org IS NOT NULL
       OR EXISTS (SELECT FROM unnest(p_first, v_outcome) AS f (first, outcome)
                  WHERE f.first AND f.outcome = 'new') THEN
        SELECT array_agg(g.org), array_agg(g.line) INTO v_locked_org, v_locked_line
        FROM (SELECT * FROM unnest(p_org, v_line, v_outcome) AS g (org, line, outcome)
              WHERE g.outcome = 'new'
              UNION ALL SELECT *, 'new' FROM unnest(v_moved_org, v_moved_from)
              UNION ALL SELECT *, 'new' FROM unnest(v_moved_org, v_moved_to)
              UNION ALL SELECT *, 'new' FROM unnest(v_locked_org, v_locked_line)) g;
        PERFORM {schema}.lock_lines(v_locked_org, v_locked_line);
    ELSE
        v_locked_org := NULL;
    END IF;

    INSERT INTO {schema}.inbox
        (arrived, place, org, line, exchange, routing_key, route, message_id, body_mac, priority,
         records, due_at, wait, code, reason, waiting_since, counted_at, end_s, check_at,
         correlation_id, reply_to, traceparent, sent_at, headers, body, accepted_at)
    SELECT g.arrived, CASE WHEN g.first THEN 0 ELSE g.arrived * 1024 END, g.org, g.line, g.exchange,
           g.routing_key, coalesce(g.route, g.routing_key), g.message_id,
           substring(g.macs FOR 32), g.priority, string_to_array(g.records, ','), at,
           CASE WHEN g.wait_code IS NOT NULL THEN 'release' END, g.wait_code, g.wait_reason,
           CASE WHEN g.wait_code IS NOT NULL THEN at END,
           CASE WHEN g.wait_code IS NOT NULL THEN at END, g.wait_end_s,
           at + make_interval(secs => {schema}.count_step_s(g.wait_end_s)),
           g.correlation_id, g.reply_to, g.traceparent, g.sent_at, g.headers::jsonb, g.body, at
    FROM unnest(p_org, p_exchange, p_routing_key, p_route, p_message_id, p_macs, p_priority,
                p_records, p_first, p_wait_code, p_wait_reason, p_wait_end_s, p_correlation_id,
                p_reply_to, p_traceparent, p_sent_at, p_headers, p_body, v_line, v_arrived,
                v_outcome)
         AS g (org, exchange, routing_key, route, message_id, macs, priority, records, first,
               wait_code, wait_reason, wait_end_s, correlation_id, reply_to, traceparent, sent_at,
               headers, body, line, arrived, outcome)
    WHERE g.outcome = 'new';

    IF v_locked_org IS NOT NULL THEN
        PERFORM {schema}.move_lines(v_moved_org, v_moved_from, v_moved_to);
        PERFORM {schema}.hasten_lines(
            (SELECT array_agg(f.org) FROM unnest(p_org, p_first, v_outcome) AS f (org, first, outcome)
             WHERE f.first AND f.outcome = 'new'),
            (SELECT array_agg(f.line)
             FROM unnest(v_line, p_first, v_outcome) AS f (line, first, outcome)
             WHERE f.first AND f.outcome = 'new'), at);
        PERFORM {schema}.refresh_lines(v_locked_org, v_locked_line, at);
        -- Users who ask to be forgotten just now: from this commit on nothing of theirs begins.
        PERFORM relay.mark_erased(
            array_agg(f.org), array_agg(substring(f.line FROM 6)),
            array_agg(f.headers::jsonb ->> 'x-asked-by'), at)
        FROM unnest(p_org, v_line, p_first, v_outcome, p_headers)
             AS f (org, line, first, outcome, headers)
        WHERE f.first AND f.outcome = 'new' AND f.line LIKE 'user:%';
    ELSE
        -- The plain case: of a line that is there, the head stays, unless this comes before it. One
        -- that is new may be leased as it is stored.
        IF p_lease <> '{}' THEN
            SELECT array_agg(CASE WHEN c.lease THEN nextval('{schema}.claims') END) INTO v_claim
            FROM unnest(p_lease) AS c (lease);
        END IF;
        WITH stored AS (
            INSERT INTO {schema}.lines AS l
                (org, line, state, head, head_place, head_route, priority, due_at,
                 claim, leased_arrived, leased_at, leased_until, leased_alone, seen)
            SELECT DISTINCT ON (g.org, g.line)
                   g.org, g.line, 'due', g.arrived, g.arrived * 1024, g.route, g.urgency, at,
                   g.claim, CASE WHEN g.claim IS NOT NULL THEN g.arrived END,
                   CASE WHEN g.claim IS NOT NULL THEN at END,
                   CASE WHEN g.claim IS NOT NULL THEN at + make_interval(secs => p_lease_s) END,
                   CASE WHEN g.claim IS NOT NULL THEN false END,
                   CASE WHEN g.claim IS NOT NULL THEN pg_current_snapshot() END
            -- One before a more urgent message has that urgency, so it is leased like any other.
            FROM (SELECT g.org, g.line, g.arrived, coalesce(g.route, g.routing_key) AS route,
                         min(g.priority) OVER of_line AS urgency,
                         CASE WHEN g.priority = min(g.priority) OVER of_line THEN g.claim END
                             AS claim
                  FROM unnest(p_org, v_line, p_route, p_routing_key, p_priority, v_arrived,
                              v_outcome, v_claim)
                       AS g (org, line, route, routing_key, priority, arrived, outcome, claim)
                  WHERE g.outcome = 'new'
                  WINDOW of_line AS (PARTITION BY g.org, g.line)) g
            ORDER BY g.org, g.line, g.arrived
            ON CONFLICT ON CONSTRAINT lines_pkey DO UPDATE
            SET priority = least(l.priority, excluded.priority),
                state = CASE WHEN excluded.head_place < l.head_place THEN 'due' ELSE l.state END,
                due_at = CASE WHEN excluded.head_place < l.head_place THEN excluded.due_at
                         ELSE l.due_at END,
                lapses = CASE WHEN excluded.head_place < l.head_place THEN 0 ELSE l.lapses END,
                head = CASE WHEN excluded.head_place < l.head_place THEN excluded.head
                       ELSE l.head END,
                head_route = CASE WHEN excluded.head_place < l.head_place THEN excluded.head_route
                             ELSE l.head_route END,
                head_place = least(l.head_place, excluded.head_place)
            WHERE excluded.priority < l.priority OR excluded.head_place < l.head_place
            RETURNING l.claim
        )
        SELECT array_agg(s.claim) INTO v_stored FROM stored s WHERE s.claim = ANY (v_claim);
        IF v_stored IS NOT NULL THEN
            SELECT array_agg(k.n::integer ORDER BY k.priority, k.n),
                   array_agg(k.org ORDER BY k.priority, k.n),
                   array_agg(k.priority ORDER BY k.priority, k.n),
                   array_agg(coalesce(k.route, k.routing_key) ORDER BY k.priority, k.n)
            INTO v_leased, v_leased_org, v_leased_priority, v_leased_route
            FROM unnest(p_org, p_route, p_routing_key, p_priority, v_claim) WITH ORDINALITY
                 AS k (org, route, routing_key, priority, claim, n)
            WHERE k.claim = ANY (v_stored);
        END IF;

        -- The ledger comes last, as in `lease_messages`. What it refuses is stored, and not leased.
        IF v_leased_route && p_call_route THEN
            SELECT array_agg(v_leased[a.item]), array_agg(a.product), array_agg(a.reservation)
            INTO v_reserved_for, v_product, v_reserved
            FROM {schema}.reserve_for_messages(
                v_leased_org, v_leased_priority, v_leased_route,
                array_fill(false, ARRAY[cardinality(v_leased)]), p_call_route, p_call_product,
                p_calls, p_limits, p_reservation_s, at, p_now) a;
            IF array_position(v_reserved, NULL) IS NOT NULL THEN
                UPDATE {schema}.lines l
                SET claim = NULL, leased_arrived = NULL, leased_at = NULL, leased_until = NULL,
                    leased_alone = NULL, seen = NULL
                FROM unnest(v_reserved_for, v_reserved) AS a (item, reservation)
                WHERE a.reservation IS NULL AND l.org = p_org[a.item] AND l.line = v_line[a.item];
                SELECT array_agg(k.item) INTO v_leased FROM unnest(v_leased) AS k (item)
                WHERE NOT EXISTS (SELECT FROM unnest(v_reserved_for, v_reserved) AS a (item, reservation)
                                  WHERE a.item = k.item AND a.reservation IS NULL);
            END IF;
        END IF;
    END IF;

    IF v_leased IS NULL THEN
        RETURN QUERY
        SELECT r.n::integer, r.outcome, CASE WHEN r.outcome <> 'repeated' THEN r.arrived END,
               NULL, NULL::bigint, NULL::text[], NULL::bigint[]
        FROM unnest(v_outcome, v_arrived) WITH ORDINALITY AS r (outcome, arrived, n) ORDER BY r.n;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT r.n::integer, r.outcome, CASE WHEN r.outcome <> 'repeated' THEN r.arrived END,
           r.line, CASE WHEN r.n = ANY (v_leased) THEN r.claim END, a.products, a.reservations
    FROM unnest(v_outcome, v_arrived, v_line, v_claim) WITH ORDINALITY
         AS r (outcome, arrived, line, claim, n)
    LEFT JOIN LATERAL (
        SELECT array_agg(a.product) AS products, array_agg(a.reservation) AS reservations
        FROM unnest(v_reserved_for, v_product, v_reserved) AS a (item, product, reservation)
        WHERE a.item = r.n AND a.reservation IS NOT NULL
    ) a ON true
    ORDER BY r.n;
END $$;
