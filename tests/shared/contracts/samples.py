"""Hold one good body for each command."""

SIGNED_UP = {"user_id": "u1", "email": "ada@example.org", "full_name": "Ada Lovelace"}
ESCALATED = {
    "escalation_id": "e1",
    "email": "ada@example.org",
    "subject": "It does not work",
    "description": "Nothing happens.",
    "transcript": [{"role": "user", "text": "Hello?", "at": "2026-01-31T10:00:00Z"}],
}
RECORDED = {
    "user_id": "u1",
    "payment_id": "p1",
    "amount": "19.90",
    "currency": "EUR",
    "mode": "banktransfer",
    "date": "2026-01-31",
}
RANGE = {"start_date": "2026-01-01", "end_date": "2026-01-31"}

COMMANDS: dict[str, dict[str, object]] = {
    "user.signed_up.v1": SIGNED_UP,
    "user.updated.v1": {"user_id": "u1", "phone": None},
    "user.erasure_requested.v1": {"user_id": "u1"},
    "subscription.requested.v1": {
        "user_id": "u1",
        "subscription_id": "s1",
        "plan_code": "pro-monthly",
        "trial_days": 14,
        "addons": [{"addon_code": "extra-seat", "quantity": 2}],
        "starts_at": "2026-02-01",
    },
    "subscription.change_requested.v1": {
        "subscription_id": "s1",
        "plan_code": "pro-yearly",
        "addons": [],
    },
    "subscription.cancel_requested.v1": {"subscription_id": "s1", "at_term_end": False},
    "subscription.reactivate_requested.v1": {"subscription_id": "s1"},
    "payment.record_requested.v1": RECORDED,
    "payment.collect_requested.v1": {"invoice_id": "i1"},
    "payment.refund_requested.v1": {
        "payment_id": "p1",
        "refund_id": "r1",
        "amount": 5,
        "reason": "Broken",
    },
    "invoice.create_requested.v1": {
        "user_id": "u1",
        "invoice_id": "i1",
        "lines": [{"description": "Help", "quantity": 1.5, "rate": "80"}],
    },
    "invoice.requested.v1": {"invoice_id": "i1", "format": "pdf"},
    "invoice.list_requested.v1": {"user_id": "u1", "status": "overdue"},
    "invoice.void_requested.v1": {"invoice_id": "i1", "reason": "Twice"},
    "invoice.write_off_requested.v1": {"invoice_id": "i1", "reason": "Gone"},
    "report.revenue_requested.v1": {**RANGE, "basis": "cash", "group_by": "day"},
    "report.receivables_requested.v1": {},
    "report.summary_requested.v1": RANGE,
    "interaction.recorded.v1": {
        "user_id": "u1",
        "interaction_id": "n1",
        "title": "Call",
        "content": "She asked about\nthe price.",
    },
    "support.escalated.v1": ESCALATED,
    "support.message_added.v1": {
        "escalation_id": "e1",
        "message_id": "m1",
        "author": "Ada",
        "content": "Still not.",
        "is_public": True,
    },
    "support.priority_raised.v1": {"escalation_id": "e1", "priority": "High"},
    "support.close_requested.v1": {"escalation_id": "e1"},
}
