-- Move all open messages of lines into other lines, at their places. Of a line with a leased message
-- nothing moves yet: it is marked, and the settlement of that message moves it. The caller has locked
-- the lines on both sides, and refreshes them.
CREATE OR REPLACE FUNCTION {schema}.move_lines(p_org text[], p_from text[], p_to text[])
RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    UPDATE {schema}.lines l SET moving_to = u.target
    FROM unnest(p_org, p_from, p_to) AS u (org, source, target), {schema}.inbox m
    WHERE l.org = u.org AND l.line = u.source AND u.source <> u.target
      AND m.arrived = l.leased_arrived;
    UPDATE {schema}.inbox m SET line = u.target
    FROM unnest(p_org, p_from, p_to) AS u (org, source, target)
    JOIN {schema}.lines l ON l.org = u.org AND l.line = u.source AND l.moving_to IS NULL
    WHERE m.org = u.org AND m.line = u.source AND u.source <> u.target AND m.state = 'in_line';
    UPDATE {schema}.inbox m SET line = u.target
    FROM unnest(p_org, p_from, p_to) AS u (org, source, target)
    JOIN {schema}.lines l ON l.org = u.org AND l.line = u.source AND l.moving_to IS NULL
    WHERE m.org = u.org AND m.line = u.source AND u.source <> u.target AND m.state <> 'in_line';
END $$;
