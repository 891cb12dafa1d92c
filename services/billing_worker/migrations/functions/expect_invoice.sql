-- Go on only while the invoice is as it was read: a change of it is announced once.
-- ZR001 ("changed meanwhile") is an error like any other for messaging: the message is handled again.
-- A serialization failure would pass for a database that is away, and the commit would be repeated.
CREATE OR REPLACE FUNCTION {schema}.expect_invoice(
    p_org text, p_invoice_id text, p_status text, p_balance numeric
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM {schema}.invoices
    WHERE org = p_org AND invoice_id = p_invoice_id
      AND status IS NOT DISTINCT FROM p_status AND balance IS NOT DISTINCT FROM p_balance
    FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the invoice changed meanwhile' USING ERRCODE = 'ZR001';
    END IF;
END $$;
