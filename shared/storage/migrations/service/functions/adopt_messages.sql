-- Give messages that wait for a release to the routes that are known by now: arrays are parallel, one
-- element per exchange and routing key. p_records: kinds, separated by commas; NULL: none.
CREATE OR REPLACE FUNCTION {schema}.adopt_messages(
    p_exchange text[], p_routing_key text[], p_route text[], p_priority smallint[], p_records text[],
    p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    v_org text[];
    v_line text[];
BEGIN
    SELECT array_agg(m.org), array_agg(m.line) INTO v_org, v_line
    FROM unnest(p_exchange, p_routing_key) AS k (exchange, routing_key)
    JOIN {schema}.inbox m ON m.exchange = k.exchange AND m.routing_key = k.routing_key
    WHERE m.wait = 'release' AND m.state = 'in_line' AND m.code = 'unknown_command';
    IF v_org IS NULL THEN
        RETURN;
    END IF;
    PERFORM {schema}.lock_lines(v_org, v_line);
    UPDATE {schema}.inbox m
    SET route = k.route, priority = k.priority, records = string_to_array(k.records, ','),
        wait = NULL, code = NULL, reason = NULL, waiting_since = NULL, counted_at = NULL,
        counted_s = 0, end_s = NULL, check_at = NULL, claim = NULL
    FROM unnest(p_exchange, p_routing_key, p_route, p_priority, p_records)
         AS k (exchange, routing_key, route, priority, records)
    WHERE m.exchange = k.exchange AND m.routing_key = k.routing_key
      AND m.wait = 'release' AND m.state = 'in_line' AND m.code = 'unknown_command'
      -- What was moved before its line was locked is adopted the next time.
      AND (m.org, m.line) IN (SELECT u.org, u.line FROM unnest(v_org, v_line) AS u (org, line));
    PERFORM {schema}.refresh_lines(v_org, v_line, at);
END $$;
