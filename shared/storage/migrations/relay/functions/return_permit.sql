-- Give back a permit whose request was surely never written. Zoho counts nothing, so neither does the ledger.
CREATE OR REPLACE FUNCTION relay.return_permit(p_permit bigint) RETURNS void
LANGUAGE sql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
    WITH given_back AS (DELETE FROM relay.permits WHERE id = p_permit RETURNING *)
    UPDATE relay.quota_spent s SET credits = greatest(s.credits - g.weight, 0)
    FROM given_back g
    WHERE s.org = g.org AND s.product = g.product
      AND s.slot = g.slot
$$;
