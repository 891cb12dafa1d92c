-- Write the tombstones of users. One that is there stays as it is: an erasure is asked for once.
CREATE OR REPLACE FUNCTION relay.mark_erased(
    p_org text[], p_user_id text[], p_by text[], p_now timestamptz DEFAULT NULL
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO relay.tombstones (org, user_id, asked_at, asked_by)
    SELECT DISTINCT ON (u.org, u.user_id)
           u.org, u.user_id, coalesce(p_now, clock_timestamp()), u.by
    FROM unnest(p_org, p_user_id, p_by) AS u (org, user_id, by)
    ORDER BY u.org, u.user_id
    ON CONFLICT DO NOTHING
$$;
