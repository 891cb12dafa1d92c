-- The bindings that services need, so that whoever declares a deleted exchange anew restores those of
-- all. A binding of a queue that no longer exists is passed over.
CREATE TABLE relay.bindings (
    queue text NOT NULL,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    PRIMARY KEY (queue, exchange, routing_key)
);
