-- Give back what is left of reservations whose messages are done, and clear what has ended in their
-- ledgers: no decision waits for that.
CREATE OR REPLACE FUNCTION relay.end_reservations(p_ids bigint[], p_now timestamptz DEFAULT NULL)
RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    v_orgs     text[];
    v_products text[];
BEGIN
    WITH gone AS (
        DELETE FROM relay.reservations r WHERE r.id = ANY (p_ids) RETURNING r.org, r.product
    )
    SELECT array_agg(g.org), array_agg(g.product) INTO v_orgs, v_products
    FROM (SELECT DISTINCT org, product FROM gone) g;
    PERFORM relay.expire_calls(l.org, l.product, coalesce(p_now, clock_timestamp()))
    FROM unnest(v_orgs, v_products) AS l (org, product);
END $$;
