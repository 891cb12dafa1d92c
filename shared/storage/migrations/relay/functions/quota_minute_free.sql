-- Return when so many of the calls that count in the window will have left it.
CREATE OR REPLACE FUNCTION relay.quota_minute_free(
    p_org text, p_product text, at timestamptz, p_calls bigint
) RETURNS timestamptz LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    RETURN (SELECT f.until FROM (
        SELECT c.until, sum(c.calls) OVER (ORDER BY c.until) AS freed
        FROM (SELECT p.counts_until AS until, 1 AS calls FROM relay.permits p
              WHERE p.org = p_org AND p.product = p_product AND p.counts_until > at
              UNION ALL
              SELECT r.expires_at, r.calls FROM relay.reservations r
              WHERE r.org = p_org AND r.product = p_product AND r.expires_at > at) c
    ) f
    WHERE f.freed >= p_calls ORDER BY f.until LIMIT 1);
END $$;
