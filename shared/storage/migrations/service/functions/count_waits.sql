-- Count at most p_limit waits whose time to be counted has come. A row for each: those that are over
-- come with the message, to be given up. It has a claim, and is returned again after p_claim_s unless
-- it is settled before. Many may be over at once, so a body of more than 4 KiB comes empty: whoever
-- gives the message up reads it then.
--
-- Only time counts in which the wait could have ended: not while intake is behind, not while the
-- product is paused, and not while a message that may record the fact is open and does not itself
-- wait for one. p_paused_*: organizations and kinds of facts whose product is paused. p_same_line:
-- kinds that are only recorded by messages of the line of whoever waits.
CREATE OR REPLACE FUNCTION {schema}.count_waits(
    p_intake_behind boolean, p_paused_org text[], p_paused_kind text[], p_same_line text[],
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
    WITH checked AS MATERIALIZED (
        SELECT m.arrived, m.counted_s, m.end_s, {schema}.count_step_s(m.end_s) AS step_s,
               extract(epoch FROM at - m.counted_at)::float8 AS elapsed_s,
               extract(epoch FROM at - m.waiting_since)::float8 AS waited_s,
               EXISTS (
                   SELECT FROM {schema}.lines l
                   WHERE l.org = m.org AND l.line = m.line
                     AND l.leased_arrived = m.arrived) AS leased,
               m.state = 'fact' AND EXISTS (
                   SELECT FROM unnest(p_paused_org, p_paused_kind) AS p (org, kind)
                   WHERE p.org = m.org AND p.kind = m.fact_kind) AS paused,
               m.state = 'fact' AND (p_intake_behind OR CASE
                   WHEN m.fact_kind = ANY (p_same_line) THEN EXISTS (
                       SELECT FROM {schema}.inbox r
                       WHERE r.org = m.org AND r.line = m.line AND r.state = 'in_line'
                         AND m.fact_kind = ANY (r.records)
                   ) OR EXISTS (
                       SELECT FROM {schema}.inbox r
                       -- The first condition is the index's.
                       WHERE r.org = m.org AND r.line = m.line AND r.state <> 'in_line'
                         AND r.state = 'look' AND m.fact_kind = ANY (r.records))
                   ELSE EXISTS (
                       SELECT FROM {schema}.inbox r
                       WHERE r.org = m.org AND r.records IS NOT NULL AND r.state <> 'fact'
                         AND m.fact_kind = ANY (r.records))
               END) AS held
        FROM {schema}.inbox m WHERE m.arrived = ANY (v_arrived)
    ), counted AS MATERIALIZED (
        SELECT c.*, c.counted_s + CASE WHEN c.held OR c.paused THEN 0
                                       ELSE greatest(0, least(c.elapsed_s, 2 * c.step_s)) END AS new_s
        FROM checked c
    ), over AS MATERIALIZED (
        SELECT c.*, NOT c.leased AND NOT c.paused
                    AND (c.new_s >= c.end_s OR c.waited_s >= p_longest * c.end_s) AS is_over
        FROM counted c
    ), written AS (
        UPDATE {schema}.inbox m
        SET counted_s = o.new_s, counted_at = at,
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
