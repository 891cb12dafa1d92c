"""Hold the SQL that erases rows of a user that name only a subscription or a payment."""

from __future__ import annotations

from typing import Final

from shared.erasing.row_cleanup import RowCleanup

CLEANUP: Final = RowCleanup(
    before=(
        """
        DELETE FROM billing.refunds r USING billing.payments p
        WHERE p.org = $1 AND p.user_id = $2 AND r.org = p.org AND r.payment_id = p.payment_id
        """,
        """
        DELETE FROM billing.decisions d USING billing.subscriptions s
        WHERE s.org = $1 AND s.user_id = $2
          AND d.org = s.org AND d.subscription_id = s.subscription_id
        """,
    )
)
