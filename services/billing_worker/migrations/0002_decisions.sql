-- Which command decided last on a thing of a subscription's, by its first arrival: an older one that
-- comes back from a delay undoes nothing of it.
CREATE TABLE {schema}.decisions (
    org text NOT NULL,
    subscription_id text NOT NULL,
    about text NOT NULL CHECK (about IN ('renewal', 'plan')),
    arrived bigint NOT NULL,
    PRIMARY KEY (org, subscription_id, about)
);
