-- Give back what is left of reservations. Those that are gone already are passed over. It decides
-- nothing, so it takes no lock of the quota.
CREATE OR REPLACE FUNCTION relay.give_back_calls(p_ids bigint[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    DELETE FROM relay.reservations r WHERE r.id = ANY (p_ids);
END $$;
