-- Find a user by this email from now on, and by none that the user had before. An older command, back
-- from a delay, changes nothing.
CREATE OR REPLACE FUNCTION desk.know_user(
    p_org text, p_user_id text, p_arrived bigint, p_indexes bytea[], p_key_ids text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO desk.users AS u (org, user_id, arrived) VALUES (p_org, p_user_id, p_arrived)
    ON CONFLICT (org, user_id) DO UPDATE SET arrived = excluded.arrived
    WHERE excluded.arrived > u.arrived;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    DELETE FROM desk.blind_index
    WHERE org = p_org AND kind = 'user email' AND row = p_user_id AND NOT index = ANY (p_indexes);
    INSERT INTO desk.blind_index (org, kind, index, key_id, row, user_id)
    SELECT p_org, 'user email', t.index, t.key_id, p_user_id, p_user_id
    FROM unnest(p_indexes, p_key_ids) AS t (index, key_id)
    ON CONFLICT DO NOTHING;
END $$;
