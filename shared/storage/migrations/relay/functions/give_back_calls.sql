-- Give back what is left of reservations. Those that are gone already are passed over.
CREATE OR REPLACE FUNCTION relay.give_back_calls(p_ids bigint[]) RETURNS void LANGUAGE sql AS $$
    SELECT relay.drop_reservations(p_ids)
$$;
