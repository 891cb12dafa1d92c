-- Store what staff wrote into a field of a contact, unless the field was changed or sent since it was
-- compared. p_wanted and p_in_crm are the sealed values that it was compared with, NULL for none.
-- ZR001 ("changed meanwhile"): the contact is compared again.
CREATE OR REPLACE FUNCTION crm.take_over(
    p_org text, p_user_id text, p_field text, p_wanted bytea, p_in_crm bytea,
    p_new_value bytea, p_new_in_crm bytea, p_arrived bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_wanted IS NULL THEN
        INSERT INTO crm.contact_fields (org, user_id, field, value_sealed, in_crm_sealed, arrived)
        VALUES (p_org, p_user_id, p_field, p_new_value, p_new_in_crm, p_arrived)
        ON CONFLICT DO NOTHING;
    ELSE
        UPDATE crm.contact_fields
        SET value_sealed = p_new_value, in_crm_sealed = p_new_in_crm,
            arrived = greatest(arrived, p_arrived)
        WHERE org = p_org AND user_id = p_user_id AND field = p_field
          AND value_sealed = p_wanted AND in_crm_sealed IS NOT DISTINCT FROM p_in_crm;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the field was changed meanwhile' USING ERRCODE = 'ZR001';
    END IF;
END $$;
