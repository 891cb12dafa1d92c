-- Book credits as spent, in the slot of a quarter of an hour.
CREATE OR REPLACE FUNCTION relay.book_credits(
    p_org text, p_product text, p_slot timestamptz, p_credits bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO relay.quota_spent AS s (org, product, slot, credits)
    VALUES (p_org, p_product, p_slot, p_credits)
    ON CONFLICT ON CONSTRAINT quota_spent_pkey DO UPDATE
    SET credits = s.credits + excluded.credits;
END $$;
