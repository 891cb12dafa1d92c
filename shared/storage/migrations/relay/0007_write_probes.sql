-- Written by checks of readiness, which must notice a database that is read-only or full.
CREATE TABLE relay.write_probes (
    service text PRIMARY KEY,
    written_at timestamptz NOT NULL
) WITH (fillfactor = 50);
