-- Claim a group of messages. Arrays are parallel, one element per message, in order of arrival;
-- p_named_* and p_names_* are lists of their own whose first element is the message's position.
--
-- VOLATILE on purpose: each statement sees what was committed before it began, so the look at the
-- head of the line, taken under the subject's lock, sees every rival. Locks are taken in sorted
-- order and held to the commit; two replicas that want the same subjects cannot block each other
-- for good, and places are in the order of commits.
CREATE OR REPLACE FUNCTION {schema}.claim(
    p_org text[], p_routing_key text[], p_message_id text[], p_source text[],
    p_macs bytea[],                     -- the MAC under each key in use, 32 bytes each, in a row
    p_lined boolean[], p_user_id text[], p_fallback text[], p_replay text[], p_exempt boolean[],
    p_named_item integer[], p_named_kind text[], p_named_name text[],
    p_names_item integer[], p_names_kind text[], p_names_name text[],
    p_lease_s float8
) RETURNS TABLE (
    item integer, outcome text, claim_number bigint, attempt integer, arrival bigint,
    line text, lease_left_s float8, waited_s float8, erased boolean
) LANGUAGE plpgsql
-- A cached plan must not remember that the table was small once.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_subject text[];
    v_known boolean[];
    v_fits boolean[];                   -- not the key of another body
    v_lined boolean := true = ANY (p_lined);
BEGIN
    -- Whose line, from the message alone or from the place it already has.
    SELECT array_agg(
               CASE WHEN NOT i.lined OR position(x.body_mac IN i.macs) = 0 THEN NULL
                    WHEN x.place IS NOT NULL THEN x.subject
                    WHEN i.user_id IS NOT NULL THEN 'user:' || i.user_id
                    WHEN NOT i.o = ANY (p_named_item) THEN i.fallback
               END ORDER BY i.o),
           array_agg(x.org IS NOT NULL ORDER BY i.o),
           array_agg(x.org IS NULL OR position(x.body_mac IN i.macs) > 0 ORDER BY i.o)
    INTO v_subject, v_known, v_fits
    FROM unnest(p_org, p_routing_key, p_message_id, p_macs, p_lined, p_user_id, p_fallback)
         WITH ORDINALITY AS i (org, routing_key, message_id, macs, lined, user_id, fallback, o)
    LEFT JOIN {schema}.inbox x
      ON x.org = i.org AND x.routing_key = i.routing_key AND x.message_id = i.message_id;

    IF v_lined THEN
        INSERT INTO {schema}.line_names (org, kind, name, subject)
        SELECT DISTINCT ON (1, 2, 3) p_org[n.item], n.kind, n.name, v_subject[n.item]
        FROM unnest(p_names_item, p_names_kind, p_names_name) AS n (item, kind, name)
        WHERE v_subject[n.item] IS NOT NULL
        ORDER BY 1, 2, 3, n.item
        ON CONFLICT DO NOTHING;

        -- The others: the line of the first thing they name that is known, else their own.
        IF cardinality(p_named_item) > 0 THEN
            SELECT array_agg(
                       CASE WHEN s.subject IS NOT NULL OR NOT s.lined OR NOT s.fits THEN s.subject
                            ELSE coalesce((
                                SELECT l.subject
                                FROM unnest(p_named_item, p_named_kind, p_named_name)
                                     WITH ORDINALITY AS n (item, kind, name, o)
                                JOIN {schema}.line_names l
                                  ON l.org = s.org AND l.kind = n.kind AND l.name = n.name
                                WHERE n.item = s.o ORDER BY n.o LIMIT 1), s.fallback)
                       END ORDER BY s.o)
            INTO v_subject
            FROM unnest(p_org, p_lined, v_fits, p_fallback, v_subject)
                 WITH ORDINALITY AS s (org, lined, fits, fallback, subject, o);

            INSERT INTO {schema}.line_names (org, kind, name, subject)
            SELECT DISTINCT ON (1, 2, 3) p_org[n.item], n.kind, n.name, v_subject[n.item]
            FROM unnest(p_names_item, p_names_kind, p_names_name) AS n (item, kind, name)
            WHERE v_subject[n.item] IS NOT NULL AND n.item = ANY (p_named_item)
            ORDER BY 1, 2, 3, n.item
            ON CONFLICT DO NOTHING;
        END IF;

        PERFORM pg_advisory_xact_lock(k.key)
        FROM (SELECT DISTINCT hashtextextended('{schema} ' || s.org || ' ' || s.subject, 0) AS key
              FROM unnest(p_org, v_subject) AS s (org, subject)
              WHERE s.subject IS NOT NULL ORDER BY 1) k;
    END IF;

    IF true = ANY (v_known) THEN
        -- A replay opens what was given up; each replay once, however often it is delivered.
        UPDATE {schema}.inbox x
        SET state = 'waiting', attempts = 0, code = NULL, settled_at = NULL, place = NULL,
            replay = i.replay, first_seen_at = clock_timestamp()
        FROM unnest(p_org, p_routing_key, p_message_id, p_macs, p_replay)
             AS i (org, routing_key, message_id, macs, replay)
        WHERE x.org = i.org AND x.routing_key = i.routing_key AND x.message_id = i.message_id
          AND x.state = 'given_up' AND x.replay IS DISTINCT FROM i.replay AND i.replay IS NOT NULL
          AND position(x.body_mac IN i.macs) > 0;

        -- What left the line comes back at its end.
        WITH back AS MATERIALIZED (
            SELECT b.*, nextval('{schema}.arrivals') AS place FROM (
                SELECT DISTINCT ON (x.arrived) x.org, x.routing_key, x.message_id, i.subject
                FROM unnest(p_org, p_routing_key, p_message_id, p_macs, p_lined, v_subject)
                     AS i (org, routing_key, message_id, macs, lined, subject)
                JOIN {schema}.inbox x
                  ON x.org = i.org AND x.routing_key = i.routing_key
                 AND x.message_id = i.message_id
                WHERE i.lined AND x.place IS NULL AND position(x.body_mac IN i.macs) > 0
                  AND (x.state = 'waiting'
                       OR x.state = 'claimed' AND x.leased_until <= clock_timestamp())
                ORDER BY x.arrived
            ) b
        )
        UPDATE {schema}.inbox x SET subject = b.subject, place = b.place
        FROM back b
        WHERE x.org = b.org AND x.routing_key = b.routing_key AND x.message_id = b.message_id
          AND x.place IS NULL AND x.state IN ('waiting', 'claimed');
    END IF;

    IF false = ANY (v_known) THEN
        INSERT INTO {schema}.inbox
            (org, routing_key, message_id, source, body_mac, state, subject, arrived, place)
        SELECT n.org, n.routing_key, n.message_id, n.source, substring(n.macs FOR 32), 'waiting',
               n.subject, n.arrived, CASE WHEN n.lined THEN n.arrived END
        FROM (SELECT i.*, nextval('{schema}.arrivals') AS arrived
              FROM (SELECT * FROM unnest(p_org, p_routing_key, p_message_id, p_source, p_macs,
                                         p_lined, v_subject, v_known)
                           WITH ORDINALITY
                           AS i (org, routing_key, message_id, source, macs, lined, subject, known,
                                 o)
                    WHERE NOT i.known ORDER BY i.o) i) n
        ORDER BY n.org, n.routing_key, n.message_id, n.o
        ON CONFLICT DO NOTHING;
    END IF;

    RETURN QUERY
    WITH i AS MATERIALIZED (
        SELECT * FROM unnest(p_org, p_routing_key, p_message_id, p_macs, p_lined, p_exempt)
                      WITH ORDINALITY AS i (org, routing_key, message_id, macs, lined, exempt, o)
    ), one_of_each AS (
        SELECT DISTINCT ON (i.org, i.routing_key, i.message_id) *
        FROM i ORDER BY i.org, i.routing_key, i.message_id, i.o
    ), claimed AS (
        UPDATE {schema}.inbox x
        SET state = 'claimed', claim = x.claim + 1, attempts = x.attempts + 1,
            leased_until = clock_timestamp() + make_interval(secs => p_lease_s)
        FROM one_of_each i
        WHERE x.org = i.org AND x.routing_key = i.routing_key AND x.message_id = i.message_id
          AND position(x.body_mac IN i.macs) > 0
          AND (x.state = 'waiting'
               OR x.state = 'claimed' AND x.leased_until <= clock_timestamp())
          AND (NOT i.lined OR x.place IS NOT NULL AND NOT EXISTS (
                  SELECT FROM {schema}.inbox e
                  WHERE e.org = x.org AND e.subject = x.subject AND e.place < x.place))
        RETURNING i.o, x.claim, x.attempts
    )
    SELECT i.o::integer,
           CASE WHEN c.o IS NOT NULL THEN 'claimed'
                WHEN position(x.body_mac IN i.macs) = 0 THEN 'reused'
                WHEN x.state IN ('done', 'given_up') THEN x.state
                WHEN x.state = 'claimed' AND x.leased_until > clock_timestamp() THEN 'held'
                WHEN same.o IS NOT NULL THEN 'held'
                ELSE 'in_line'
           END,
           c.claim, c.attempts, x.arrived, x.subject,
           extract(epoch FROM x.leased_until - clock_timestamp())::float8,
           extract(epoch FROM clock_timestamp() - x.first_seen_at)::float8,
           c.o IS NOT NULL AND NOT i.exempt AND x.subject LIKE 'user:%' AND EXISTS (
               SELECT FROM relay.tombstones t
               WHERE t.org = i.org AND t.user_id = substring(x.subject FROM 6))
    FROM i
    JOIN {schema}.inbox x
      ON x.org = i.org AND x.routing_key = i.routing_key AND x.message_id = i.message_id
    LEFT JOIN claimed c ON c.o = i.o
    LEFT JOIN claimed same ON c.o IS NULL AND EXISTS (
        SELECT FROM one_of_each f
        WHERE f.o = same.o AND f.org = i.org AND f.routing_key = i.routing_key
          AND f.message_id = i.message_id);
END $$;
