-- Settle leased messages, `done` or `given_up`, and record facts and names, in the transaction that
-- writes what they changed. `kept` only checks the claim: the message stays leased. Returns the
-- messages whose claim still held; the facts and names of the others are not recorded (p_*_arrived:
-- the message that records it, 0 without one). `leaves_due`: some message is due because of it, and
-- not leased. Without a message that held, this alone comes as a row.
--
-- Locks: names, facts, lines, messages. A claim that is gone never comes back, so the losers are
-- known before the locks; one that is lost in between repeats the transaction (40001).
CREATE OR REPLACE FUNCTION {schema}.settle_messages(
    p_arrived bigint[], p_claim bigint[], p_outcome text[],
    p_fact_org text[], p_fact_kind text[], p_fact_key text[], p_fact_arrived bigint[],
    p_name_org text[], p_name_kind text[], p_name_name text[], p_name_line text[],
    p_name_arrived bigint[],
    p_now timestamptz DEFAULT NULL
) RETURNS TABLE (arrived bigint, leaves_due boolean) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_won bigint[];
    v_ended bigint[];                   -- done or given up
    v_given_up bigint[];
    v_org text[];                       -- of the lines to lock
    v_line text[];
    v_fact_org text[] := '{}';          -- recorded, then freed
    v_fact_kind text[] := '{}';
    v_fact_key text[] := '{}';
    v_fact_by bigint[] := '{}';         -- NULL: freed
    v_freed_org text[];
    v_freed_kind text[];
    v_freed_name text[];
    v_own_org text[];
    v_own text[];
    v_own_to text[];
    v_waiter bigint[];
    v_first_org text[];
    v_first_line text[];
    v_held bigint;
    v_due boolean;
BEGIN
    SELECT array_agg(m.arrived), array_agg(m.org), array_agg(m.line),
           array_agg(m.arrived) FILTER (WHERE u.outcome <> 'kept'),
           array_agg(m.arrived) FILTER (WHERE u.outcome = 'given_up'),
           array_agg(m.org) FILTER (WHERE m.place = 0), array_agg(m.line) FILTER (WHERE m.place = 0)
    INTO v_won, v_org, v_line, v_ended, v_given_up, v_first_org, v_first_line
    FROM unnest(p_arrived, p_claim, p_outcome) AS u (arrived, claim, outcome)
    CROSS JOIN LATERAL (
        SELECT m.arrived, m.place, m.org, m.line, m.claim FROM {schema}.inbox m
        WHERE m.arrived = u.arrived OFFSET 0
    ) m
    LEFT JOIN LATERAL (
        SELECT l.leased_arrived, l.claim FROM {schema}.lines l
        WHERE l.org = m.org AND l.line = m.line OFFSET 0
    ) l ON true
    WHERE m.claim = u.claim OR l.leased_arrived = m.arrived AND l.claim = u.claim;

    IF cardinality(p_name_org) > 0 THEN
        WITH made AS (
            INSERT INTO {schema}.names AS x (org, kind, name, line)
            SELECT DISTINCT ON (1, 2, 3) n.org, n.kind, n.name, n.line
            FROM unnest(p_name_org, p_name_kind, p_name_name, p_name_line, p_name_arrived)
                 AS n (org, kind, name, line, arrived)
            WHERE n.arrived = 0 OR n.arrived = ANY (v_won)
            ORDER BY 1, 2, 3
            ON CONFLICT ON CONSTRAINT names_pkey DO UPDATE  -- of one that was freed
            SET line = excluded.line, named_by = NULL WHERE x.line IS NULL
            RETURNING x.org, x.kind || ':' || x.name AS own, x.line
        )
        SELECT array_agg(m.org), array_agg(m.own), array_agg(m.line)
        INTO v_own_org, v_own, v_own_to FROM made m WHERE m.own <> m.line;
    END IF;

    IF cardinality(p_fact_org) > 0 THEN
        SELECT array_agg(f.org), array_agg(f.kind), array_agg(f.key), array_agg(f.by)
        INTO v_fact_org, v_fact_kind, v_fact_key, v_fact_by
        FROM (SELECT DISTINCT ON (f.org, f.kind, f.key) f.org, f.kind, f.key, f.by
              FROM unnest(p_fact_org, p_fact_kind, p_fact_key, p_fact_arrived)
                   AS f (org, kind, key, by)
              WHERE f.by = 0 OR f.by = ANY (v_won)
              ORDER BY f.org, f.kind, f.key, f.by DESC) f;
    END IF;
    IF v_given_up IS NOT NULL
       OR EXISTS (SELECT FROM {schema}.name_heirs h WHERE h.arrived = ANY (v_ended)) THEN
        SELECT array_agg(f.org), array_agg(f.kind), array_agg(f.name)
        INTO v_freed_org, v_freed_kind, v_freed_name
        FROM {schema}.pass_on_names(v_ended, v_given_up) f;
        -- Who waits for a thing that nobody names any more looks once more.
        v_fact_org := v_fact_org || v_freed_org;
        v_fact_kind := v_fact_kind || v_freed_kind;
        v_fact_key := v_fact_key || v_freed_name;
        v_fact_by := v_fact_by
            || array_fill(NULL::bigint, ARRAY[coalesce(cardinality(v_freed_org), 0)]);
    END IF;

    IF v_fact_org <> '{}' THEN
        PERFORM {schema}.lock_facts(v_fact_org, v_fact_kind, v_fact_key);
        INSERT INTO {schema}.recorded_facts AS r (org, kind, key, recorded_in, recorded_at)
        SELECT f.org, f.kind, f.key, pg_current_xact_id(), at
        FROM unnest(v_fact_org, v_fact_kind, v_fact_key, v_fact_by) AS f (org, kind, key, by)
        WHERE f.by IS NOT NULL
        ORDER BY f.org, f.kind, f.key
        ON CONFLICT ON CONSTRAINT recorded_facts_pkey DO UPDATE
        SET recorded_in = excluded.recorded_in, recorded_at = excluded.recorded_at;

        SELECT array_agg(m.arrived), v_org || array_agg(m.org), v_line || array_agg(m.line)
        INTO v_waiter, v_org, v_line
        FROM unnest(v_fact_org, v_fact_kind, v_fact_key) AS f (org, kind, key)
        JOIN {schema}.inbox m
          ON m.org = f.org AND m.fact_kind = f.kind AND m.fact_key = f.key AND m.state = 'fact';
    END IF;

    v_org := v_org || v_own_org || v_own_org;
    v_line := v_line || v_own || v_own_to;
    IF v_org IS NULL OR v_org = '{}' THEN
        RETURN;
    END IF;
    PERFORM {schema}.lock_lines(v_org, v_line);

    PERFORM FROM (
        SELECT u.arrived, u.claim FROM unnest(p_arrived, p_claim) AS u (arrived, claim)
        WHERE u.arrived = ANY (v_won) ORDER BY u.arrived OFFSET 0
    ) u
    CROSS JOIN LATERAL (
        SELECT m.arrived, m.org, m.line, m.claim FROM {schema}.inbox m
        WHERE m.arrived = u.arrived FOR UPDATE
    ) m
    LEFT JOIN LATERAL (
        SELECT l.leased_arrived, l.claim FROM {schema}.lines l
        WHERE l.org = m.org AND l.line = m.line OFFSET 0
    ) l ON true
    WHERE m.claim = u.claim OR l.leased_arrived = m.arrived AND l.claim = u.claim;
    GET DIAGNOSTICS v_held = ROW_COUNT;
    IF v_held <> coalesce(cardinality(v_won), 0) THEN
        RAISE EXCEPTION 'a claim was lost' USING ERRCODE = 'serialization_failure';
    END IF;

    IF v_waiter IS NOT NULL THEN
        -- One that was moved before its line was locked would be woken into a line that nobody finds.
        IF EXISTS (
            SELECT FROM {schema}.inbox m
            WHERE m.arrived = ANY (v_waiter) AND m.state = 'fact'
              AND (m.org, m.line) NOT IN (
                  SELECT u.org, u.line FROM unnest(v_org, v_line) AS u (org, line))) THEN
            RAISE EXCEPTION 'a waiting message was moved' USING ERRCODE = 'serialization_failure';
        END IF;
        -- Behind whoever recorded it, if that is in its line, else where it was.
        UPDATE {schema}.inbox m
        SET state = 'in_line', due_at = at, claim = NULL, check_at = NULL,
            last_look = f.by IS NULL,
            place = greatest(m.place, CASE WHEN r.line = m.line THEN r.place + 1 END)
        FROM unnest(v_fact_org, v_fact_kind, v_fact_key, v_fact_by) AS f (org, kind, key, by)
        LEFT JOIN {schema}.inbox r ON r.arrived = f.by
        WHERE m.arrived = ANY (v_waiter) AND m.state = 'fact'
          AND m.org = f.org AND m.fact_kind = f.kind AND m.fact_key = f.key;
    END IF;
    DELETE FROM {schema}.inbox m WHERE m.arrived = ANY (v_ended);
    IF v_own_org IS NOT NULL THEN
        PERFORM {schema}.move_lines(v_own_org, v_own, v_own_to);
    END IF;
    IF v_first_org IS NOT NULL THEN
        PERFORM {schema}.hasten_lines(v_first_org, v_first_line, at);
    END IF;
    v_due := {schema}.refresh_lines(v_org, v_line, at);
    RETURN QUERY SELECT w.arrived, v_due FROM unnest(v_won) AS w (arrived);
    IF v_due AND v_won IS NULL THEN
        RETURN QUERY SELECT NULL::bigint, v_due;
    END IF;
END $$;
