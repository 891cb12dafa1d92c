-- Count at most p_limit waits whose time to be counted has come. A row for each: those that are over
-- come with the message, to be given up. It has a claim, and is returned again after p_claim_s unless
-- it is settled before. Many may be over at once, so a body of more than 4 KiB comes empty: whoever
-- gives the message up reads it then.
--
-- Only time counts in which the wait could have ended: not while intake is behind, not while the
-- product is paused, not while whoever records such facts is behind since before the wait began, and
-- not while a message that may record the fact is open and does not itself wait for one. After
-- p_longest times its length a wait ends all the same, but not before such a message that arrived
-- earlier and waits for no person: that one has an end of its own. Time in which the product was paused, no replica ran, or the
-- waiting message was due and nobody leased it is no part of that.
--
-- p_paused_*: organizations and kinds of facts whose product is paused. p_behind_*: organizations and
-- kinds of facts whose recorder is behind, and since when. p_same_line: kinds that are only recorded by
-- messages of the line of whoever waits.
CREATE OR REPLACE FUNCTION {schema}.count_waits(
    p_intake_behind boolean, p_paused_org text[], p_paused_kind text[],
    p_behind_org text[], p_behind_kind text[], p_behind_since timestamptz[], p_same_line text[],
    p_longest float8, p_limit integer, p_claim_s float8, p_now timestamptz DEFAULT NULL
) RETURNS TABLE (
    is_over boolean, org text, arrived bigint, claim bigint, line text, exchange text,
    routing_key text, route text, message_id text, attempt integer, priority smallint, place bigint,
    correlation_id text, reply_to text, traceparent text, sent_at timestamptz, headers jsonb,
    body bytea, accepted_at timestamptz, counted_s float8, body_mac bytea, records text[],
    code text, reason text
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_arrived bigint[];
BEGIN
    SELECT array_agg(d.arrived) INTO v_arrived
    FROM (SELECT m.arrived FROM {schema}.inbox m WHERE m.check_at <= at
          ORDER BY m.check_at LIMIT p_limit FOR UPDATE SKIP LOCKED) d;
    IF v_arrived IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH waits AS MATERIALIZED (
        SELECT m.arrived, m.org, m.line, m.counted_s, m.end_s, m.waiting_since,
               c.kind, c.paused, c.step_s, c.elapsed_s, o.overdue_s,
               extract(epoch FROM at - m.waiting_since)::float8 - o.overdue_s
                   >= p_longest * m.end_s AS is_late,
               EXISTS (
                   SELECT FROM {schema}.lines l
                   WHERE l.org = m.org AND l.line = m.line
                     AND l.leased_arrived = m.arrived) AS leased
        FROM {schema}.inbox m
        CROSS JOIN LATERAL (
            SELECT CASE WHEN m.state = 'fact' THEN m.fact_kind END AS kind,
                   m.state = 'fact' AND EXISTS (
                       SELECT FROM unnest(p_paused_org, p_paused_kind) AS p (org, kind)
                       WHERE p.org = m.org AND p.kind = m.fact_kind) AS paused,
                   {schema}.count_step_s(m.end_s) AS step_s,
                   greatest(0, extract(epoch FROM at - m.counted_at)::float8) AS elapsed_s
        ) c
        CROSS JOIN LATERAL (
            SELECT m.overdue_s + CASE WHEN c.paused THEN c.elapsed_s
                                      ELSE greatest(0, c.elapsed_s - 2 * c.step_s) END AS overdue_s
        ) o
        WHERE m.arrived = ANY (v_arrived)
    ), recorders AS MATERIALIZED (
        -- The first that may record such a fact, and the first of those that have an end, looked for
        -- once for all who wait for one.
        SELECT k.org, k.kind, (
            SELECT r.arrived FROM {schema}.inbox r
            WHERE r.org = k.org AND r.records IS NOT NULL AND r.state <> 'fact'
              AND k.kind = ANY (r.records)
            ORDER BY r.arrived LIMIT 1) AS arrived, (
            SELECT r.arrived FROM {schema}.inbox r
            WHERE r.org = k.org AND r.records IS NOT NULL AND r.state <> 'fact'
              AND k.kind = ANY (r.records) AND r.wait IS DISTINCT FROM 'person'
            ORDER BY r.arrived LIMIT 1) AS ending
        FROM (SELECT DISTINCT w.org, w.kind FROM waits w
              WHERE w.kind <> ALL (p_same_line)) k
    ), checked AS MATERIALIZED (
        SELECT w.*,
               w.kind IS NOT NULL AND NOT w.is_late AND (p_intake_behind OR EXISTS (
                   SELECT FROM unnest(p_behind_org, p_behind_kind, p_behind_since)
                       AS b (org, kind, since)
                   WHERE b.org = w.org AND b.kind = w.kind AND b.since <= w.waiting_since))
               OR CASE WHEN w.kind = ANY (p_same_line) THEN EXISTS (
                       SELECT FROM {schema}.inbox r
                       WHERE r.org = w.org AND r.line = w.line AND r.state = 'in_line'
                         AND w.kind = ANY (r.records)
                         AND (NOT w.is_late
                              OR r.arrived < w.arrived AND r.wait IS DISTINCT FROM 'person')
                   ) OR EXISTS (
                       SELECT FROM {schema}.inbox r
                       -- The first condition is the index's.
                       WHERE r.org = w.org AND r.line = w.line AND r.state <> 'in_line'
                         AND r.state = 'look' AND w.kind = ANY (r.records)
                         AND (r.arrived < w.arrived OR NOT w.is_late))
                   ELSE EXISTS (
                       SELECT FROM recorders r
                       WHERE r.org = w.org AND r.kind = w.kind
                         AND (r.ending < w.arrived OR NOT w.is_late AND r.arrived IS NOT NULL))
               END AS held
        FROM waits w
    ), counted AS MATERIALIZED (
        SELECT c.*, c.counted_s + CASE WHEN c.held OR c.paused THEN 0
                                       ELSE least(c.elapsed_s, 2 * c.step_s) END AS new_s
        FROM checked c
    ), over AS MATERIALIZED (
        SELECT c.*, NOT c.leased AND NOT c.paused
                    AND (c.new_s >= c.end_s OR c.is_late AND NOT c.held) AS is_over
        FROM counted c
    ), written AS (
        UPDATE {schema}.inbox m
        SET counted_s = o.new_s, overdue_s = o.overdue_s, counted_at = at,
            claim = CASE WHEN o.is_over THEN nextval('{schema}.claims') ELSE m.claim END,
            check_at = at + make_interval(secs => CASE
                WHEN o.is_over THEN p_claim_s
                -- A little late, so that a wait of whole steps ends at its last one.
                ELSE least(o.step_s, greatest(o.end_s - o.new_s, 0.05)) END)
        FROM over o WHERE m.arrived = o.arrived AND m.arrived = ANY (v_arrived)
        RETURNING o.is_over AS ended, m.org, m.arrived, m.claim, m.line, m.exchange, m.routing_key,
                  m.route, m.message_id, m.attempt, m.priority, m.place, m.correlation_id,
                  m.reply_to, m.traceparent, m.sent_at, m.headers,
                  CASE WHEN o.is_over AND octet_length(m.body) <= 4096 THEN m.body ELSE '' END,
                  m.accepted_at, m.counted_s, m.body_mac, m.records, m.code, m.reason
    )
    SELECT * FROM written;
END $$;
