-- Go on only while the invoice is still leased to us and not announced: it is announced once.
-- ZR001 ("changed meanwhile") is an error like any other for messaging: the message is handled again.
-- A serialization failure would pass for a database that is away, and the commit would be repeated.
CREATE OR REPLACE FUNCTION {schema}.hold_invoice(
    p_org text, p_invoice_id text, p_lease bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM {schema}.invoices
    WHERE org = p_org AND invoice_id = p_invoice_id AND lease = p_lease AND announced_at IS NULL
    FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the invoice was announced by another' USING ERRCODE = 'ZR001';
    END IF;
END $$;
