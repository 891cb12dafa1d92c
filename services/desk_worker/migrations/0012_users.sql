-- Users who signed up, whose tickets are watched. Their emails are in desk.blind_index, under the kind
-- `user email`. `arrived` is that of the command that gave the email: an older one changes nothing.
CREATE TABLE desk.users (
    org text NOT NULL,
    user_id text NOT NULL,
    arrived bigint NOT NULL,
    PRIMARY KEY (org, user_id)
);
