-- Put all open messages of lines back into them, due now: their user asked to be forgotten, so each
-- ends at its next lease. The caller has locked the lines, and refreshes them.
CREATE OR REPLACE FUNCTION {schema}.hasten_lines(
    p_org text[], p_line text[], p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    at timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    UPDATE {schema}.inbox m
    SET state = 'in_line', due_at = at, claim = NULL, check_at = NULL
    FROM unnest(p_org, p_line) AS u (org, line)
    WHERE m.org = u.org AND m.line = u.line AND m.state <> 'in_line';
    UPDATE {schema}.inbox m SET due_at = at, check_at = NULL
    FROM unnest(p_org, p_line) AS u (org, line)
    WHERE m.org = u.org AND m.line = u.line AND m.state = 'in_line' AND m.due_at > at;
END $$;
