-- Give back what is left of reservations. Those that are gone already are passed over.
CREATE OR REPLACE FUNCTION relay.give_back_calls(p_ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM relay.lock_quota(q.org, q.product)
    FROM (SELECT DISTINCT r.org, r.product FROM relay.reservations r
          WHERE r.id = ANY (p_ids) ORDER BY r.org, r.product) q;
    PERFORM relay.drop_reservations(p_ids);
END $$;
