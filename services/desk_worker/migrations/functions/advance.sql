-- Record the state of a ticket that was read, unless another reader was first. Then the transaction
-- fails as a whole, and with it the events: whoever lost reads again, and finds nothing new to announce.
CREATE OR REPLACE FUNCTION desk.advance(
    p_org text, p_escalation_id text, p_version bigint, p_status text, p_kind text,
    p_priority text, p_department bytea, p_modified_at timestamptz,
    p_customer_replied_at timestamptz, p_gone boolean
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE desk.escalations
    SET version = version + 1, status = p_status, kind = p_kind, priority = p_priority,
        department = p_department, modified_at = p_modified_at,
        customer_replied_at = p_customer_replied_at, gone = p_gone
    WHERE org = p_org AND escalation_id = p_escalation_id AND version = p_version;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another reader of this ticket was first'
            USING ERRCODE = 'serialization_failure';
    END IF;
END $$;
