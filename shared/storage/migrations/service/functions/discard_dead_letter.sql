-- Keep nothing of a dead letter but who discarded it and when. Returns whether it waited for somebody.
CREATE OR REPLACE FUNCTION {schema}.discard_dead_letter(
    p_arrived bigint, p_by text, p_now timestamptz DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {schema}.dead_letters
    SET state = 'discarded', body = NULL, settled_by = p_by,
        settled_at = coalesce(p_now, clock_timestamp())
    WHERE arrived = p_arrived AND state = 'waiting';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM {schema}.names n WHERE n.named_by = p_arrived AND n.line IS NULL
    ORDER BY n.org, n.kind, n.name FOR UPDATE;
    DELETE FROM {schema}.names WHERE named_by = p_arrived AND line IS NULL;
    DELETE FROM {schema}.name_heirs WHERE arrived = p_arrived;
    RETURN true;
END $$;
