-- Put leased messages back to wait. Arrays are parallel. Returns for each: `waits`; `again`, the fact
-- was recorded after the handler looked; `ended`, this was its last look, or the wait has lasted for
-- p_end_s; `lost`. After `again` and `ended` the claim still holds.
--
-- After p_longest times its length a wait is over all the same, but for a fact not while a message that
-- arrived before may record it. Waits for facts are counted by `count_waits`. Time in which the message
-- was due and nobody leased it, because its product was paused or no replica ran, is no part of that.
--
-- Locks: facts, lines, messages. The look at what was recorded is a statement after the lock.
CREATE OR REPLACE FUNCTION {schema}.put_back_messages(
    p_arrived bigint[], p_claim bigint[], p_kind text[], p_due_s float8[], p_code text[],
    p_reason text[], p_spent boolean[], p_fact_kind text[], p_fact_key text[], p_end_s float8[],
    p_product text[], p_longest float8,
    p_now timestamptz DEFAULT NULL
) RETURNS TABLE (item integer, result text) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_org text[];
    v_line text[];
    v_result text[];
BEGIN
    SELECT array_agg(m.org), array_agg(m.line) INTO v_org, v_line
    FROM unnest(p_arrived, p_claim) AS u (arrived, claim)
    JOIN {schema}.inbox m ON m.arrived = u.arrived AND m.arrived = ANY (p_arrived)
    CROSS JOIN LATERAL (
        SELECT l.leased_arrived, l.claim FROM {schema}.lines l
        WHERE l.org = m.org AND l.line = m.line OFFSET 0
    ) l
    WHERE l.leased_arrived = u.arrived AND l.claim = u.claim;

    IF v_org IS NOT NULL THEN
        IF 'fact' = ANY (p_kind) THEN
            PERFORM {schema}.lock_facts(array_agg(m.org), array_agg(u.kind), array_agg(u.key))
            FROM unnest(p_arrived, p_fact_kind, p_fact_key) AS u (arrived, kind, key)
            JOIN {schema}.inbox m ON m.arrived = u.arrived
            WHERE u.kind IS NOT NULL;
        END IF;
        PERFORM {schema}.lock_lines(v_org, v_line);
        PERFORM FROM {schema}.inbox m
        JOIN unnest(p_arrived, p_claim) AS u (arrived, claim) ON u.arrived = m.arrived
        CROSS JOIN LATERAL (
            SELECT l.leased_arrived, l.claim FROM {schema}.lines l
            WHERE l.org = m.org AND l.line = m.line OFFSET 0
        ) l
        WHERE m.arrived = ANY (p_arrived) AND l.leased_arrived = u.arrived AND l.claim = u.claim
        ORDER BY m.arrived FOR UPDATE OF m;
    END IF;

    SELECT array_agg(
        CASE WHEN m.arrived IS NULL THEN 'lost'
             WHEN u.kind = 'fact' AND NOT pg_visible_in_snapshot(r.recorded_in, m.seen) THEN 'again'
             WHEN u.kind = m.wait AND (u.kind <> 'fact' OR m.fact_kind = u.fact_kind
                                       AND m.fact_key = u.fact_key)
                  AND (m.last_look
                       OR m.counted_s + CASE
                           WHEN u.kind = 'fact' THEN 0
                           ELSE {schema}.counted_s(m.counted_at, m.due_at, at) END >= u.end_s
                       OR extract(epoch FROM at - m.waiting_since) - m.overdue_s - m.overdue_now_s
                           >= p_longest * u.end_s
                          AND NOT (u.kind = 'fact' AND EXISTS (
                              SELECT FROM {schema}.inbox b
                              WHERE b.org = m.org AND b.records IS NOT NULL AND b.state <> 'fact'
                                AND b.arrived < m.arrived AND u.fact_kind = ANY (b.records)
                                AND b.wait IS DISTINCT FROM 'person')))
             THEN 'ended'
             ELSE 'waits' END ORDER BY u.n)
    INTO v_result
    FROM unnest(p_arrived, p_claim, p_kind, p_fact_kind, p_fact_key, p_end_s) WITH ORDINALITY
         AS u (arrived, claim, kind, fact_kind, fact_key, end_s, n)
    LEFT JOIN LATERAL (
        SELECT m.*, l.seen,
               greatest(0, extract(epoch FROM l.leased_at - m.due_at)::float8) AS overdue_now_s
        FROM {schema}.inbox m
        CROSS JOIN LATERAL (
            SELECT l.leased_arrived, l.claim, l.leased_at, l.seen FROM {schema}.lines l
            WHERE l.org = m.org AND l.line = m.line OFFSET 0
        ) l
        WHERE m.arrived = u.arrived AND l.leased_arrived = u.arrived AND l.claim = u.claim OFFSET 0
    ) m ON true
    LEFT JOIN {schema}.recorded_facts r
      ON u.kind = 'fact' AND r.org = m.org AND r.kind = u.fact_kind AND r.key = u.fact_key
     -- A number from another cluster's time says nothing.
     AND r.recorded_in < pg_snapshot_xmax(pg_current_snapshot());

    UPDATE {schema}.lines l SET seen = pg_current_snapshot()
    FROM unnest(p_arrived, v_result) AS u (arrived, result)
    JOIN {schema}.inbox m ON m.arrived = u.arrived
    WHERE u.result = 'again' AND l.org = m.org AND l.line = m.line
      AND l.org = ANY (v_org) AND l.line = ANY (v_line);

    UPDATE {schema}.inbox m
    SET lapses = 0, attempt = m.attempt + u.spent::integer,
        state = CASE WHEN u.kind IN ('fact', 'look') AND NOT e.erased THEN u.kind ELSE 'in_line' END,
        due_at = CASE WHEN e.erased THEN at ELSE at + make_interval(secs => u.due_s) END,
        wait = u.kind, code = u.code, reason = u.reason, product = u.product,
        fact_kind = u.fact_kind, fact_key = u.fact_key, last_look = false, end_s = u.end_s,
        waiting_since = CASE WHEN s.same THEN m.waiting_since ELSE at END,
        counted_s = CASE WHEN s.same AND u.kind <> 'fact'
                         THEN m.counted_s + {schema}.counted_s(m.counted_at, m.due_at, at)
                         WHEN s.same THEN m.counted_s ELSE 0 END,
        overdue_s = CASE WHEN s.same THEN m.overdue_s + greatest(
            0, extract(epoch FROM l.leased_at - m.due_at)::float8) ELSE 0 END,
        counted_at = at,
        check_at = CASE WHEN u.kind = 'fact' AND NOT e.erased
                        THEN at + make_interval(secs => {schema}.count_step_s(u.end_s)) END
    FROM unnest(p_arrived, v_result, p_kind, p_due_s, p_code, p_reason, p_spent, p_fact_kind,
                p_fact_key, p_end_s, p_product)
         AS u (arrived, result, kind, due_s, code, reason, spent, fact_kind, fact_key, end_s, product)
    JOIN {schema}.inbox o ON o.arrived = u.arrived
    CROSS JOIN LATERAL (
        SELECT l.leased_at FROM {schema}.lines l
        WHERE l.org = o.org AND l.line = o.line OFFSET 0
    ) l
    CROSS JOIN LATERAL (SELECT o.wait IS NOT DISTINCT FROM u.kind
                               AND o.fact_kind IS NOT DISTINCT FROM u.fact_kind
                               AND o.fact_key IS NOT DISTINCT FROM u.fact_key AS same) s
    -- Nobody waits off the line of a user who is being forgotten: each ends there. But the erasure
    -- itself waits as any other message.
    CROSS JOIN LATERAL (SELECT o.place <> 0 AND o.line LIKE 'user:%' AND (
        EXISTS (SELECT FROM relay.tombstones t
                WHERE t.org = o.org AND t.user_id = substring(o.line FROM 6))
        OR EXISTS (SELECT FROM {schema}.inbox f
                   WHERE f.org = o.org AND f.line = o.line AND f.state = 'in_line'
                     AND f.place = 0 AND f.arrived <> o.arrived)) AS erased) e
    WHERE u.result = 'waits' AND m.arrived = u.arrived AND m.arrived = ANY (p_arrived);

    IF v_org IS NOT NULL THEN
        PERFORM {schema}.refresh_lines(v_org, v_line, at, ARRAY(
            SELECT u.arrived FROM unnest(p_arrived, v_result) AS u (arrived, result)
            WHERE u.result = 'waits'));
    END IF;
    RETURN QUERY SELECT r.n::integer, r.result
    FROM unnest(v_result) WITH ORDINALITY AS r (result, n) ORDER BY r.n;
END $$;
