-- Pages of Books' lists that a report has read, in the form in which it needs them. A report whose
-- worker died, or whose Zoho failed, goes on behind them. Sealed under the organization's key of the
-- day, for the context `billing.report_pages.items:<org>:<report>/<list>/<page>`.
CREATE TABLE {schema}.report_pages (
    org text NOT NULL,
    report text NOT NULL,               -- routing key and message id of its command
    list text NOT NULL,
    page integer NOT NULL,
    items_sealed bytea NOT NULL,
    is_last boolean NOT NULL,
    read_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, report, list, page)
);

CREATE INDEX report_pages_age ON {schema}.report_pages (read_at);

-- What is known of the organization at Zoho. The time zone (Zoho's name of it) is read again when it
-- is a day old. `customer_field_form` is how Billing takes custom fields of customers, where it has
-- shown that it is not the usual way.
CREATE TABLE {schema}.organizations (
    org text PRIMARY KEY,
    time_zone text,
    time_zone_read_at timestamptz,
    customer_field_form text CHECK (customer_field_form IN ('api_name', 'label'))
);
