-- Put a message that was given up at the end of its line again, its attempts forgotten. `arrived` stays:
-- what it says is as old as it was. p_body: sealed as that of an open message. Returns whether it
-- waited for somebody.
--
-- Nobody says here which routes the running release knows. So it waits for one that does, for a day as
-- at its arrival, until it is leased or adopted.
CREATE OR REPLACE FUNCTION {schema}.replay_dead_letter(
    p_arrived bigint, p_body bytea, p_by text, p_now timestamptz DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
    letter {schema}.dead_letters;
    v_org text[];
    v_own text[];
    v_line text;
    v_own_line text;
    v_locked text[];
BEGIN
    SELECT * INTO letter FROM {schema}.dead_letters d
    WHERE d.arrived = p_arrived AND d.state = 'waiting' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    v_line := coalesce(
        nullif(letter.line, ''), concat_ws(':', 'message', letter.routing_key, letter.message_id));
    -- Names before lines, as everywhere.
    PERFORM FROM {schema}.names n WHERE n.named_by = p_arrived AND n.line IS NULL
    ORDER BY n.org, n.kind, n.name FOR UPDATE;
    SELECT array_agg(n.org), array_agg(n.kind || ':' || n.name) INTO v_org, v_own
    FROM {schema}.names n WHERE n.named_by = p_arrived AND n.line IS NULL;
    v_own_line := v_line;
    v_locked := ARRAY[v_own_line];
    -- If its line was that of a thing which somebody has named since, it belongs in the owner's. Whoever
    -- records the name locks this line too, and one of both finds the other: so look once more, when it is
    -- locked.
    FOR look IN 1 .. 2 LOOP
        SELECT coalesce(max(n.line), v_own_line) INTO v_line FROM {schema}.names n
        WHERE n.org = letter.org AND n.kind = split_part(v_own_line, ':', 1)
          AND n.name = substring(v_own_line FROM position(':' IN v_own_line) + 1);
        v_locked := v_locked || v_line;
        PERFORM {schema}.lock_lines(
            array_fill(letter.org, ARRAY[cardinality(v_locked)]) || v_org, v_locked || v_own);
    END LOOP;
    -- What it named is its own again, unless another has named it since.
    WITH mine AS (
        UPDATE {schema}.names x SET line = v_line FROM (
            SELECT n.org, n.kind, n.name FROM {schema}.names n
            WHERE n.named_by = p_arrived AND n.line IS NULL
            ORDER BY n.org, n.kind, n.name FOR UPDATE
        ) n
        WHERE x.org = n.org AND x.kind = n.kind AND x.name = n.name
        RETURNING x.org, x.kind || ':' || x.name AS own
    )
    SELECT array_agg(m.org), array_agg(m.own) INTO v_org, v_own FROM mine m WHERE m.own <> v_line;
    INSERT INTO {schema}.inbox
        (arrived, place, org, line, exchange, routing_key, route, message_id, body_mac, priority,
         records, due_at, wait, code, reason, waiting_since, counted_at, end_s, check_at,
         correlation_id, reply_to, traceparent, sent_at, headers, body, accepted_at)
    VALUES
        (p_arrived, CASE WHEN letter.first THEN 0 ELSE nextval('{schema}.arrivals') * 1024 END,
         letter.org, v_line, letter.exchange, letter.routing_key, letter.route, letter.message_id,
         letter.body_mac, letter.priority, letter.records, at, 'release', 'unknown_command',
         'it was replayed, and no release has taken it yet', at, at, 86400,
         at + make_interval(secs => {schema}.count_step_s(86400)), letter.correlation_id,
         letter.reply_to, letter.traceparent, letter.sent_at, letter.headers, p_body, at);
    PERFORM {schema}.move_lines(
        v_org, v_own, array_fill(v_line, ARRAY[coalesce(cardinality(v_own), 0)]));
    PERFORM {schema}.refresh_lines(
        array_fill(letter.org, ARRAY[cardinality(v_locked)]) || v_org, v_locked || v_own, at);
    UPDATE {schema}.dead_letters
    SET state = 'replayed', body = NULL, settled_by = p_by, settled_at = at
    WHERE arrived = p_arrived;
    RETURN true;
END $$;
