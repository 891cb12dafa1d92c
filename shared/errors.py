"""Define the errors that we raise on purpose. The class says what happens to the message.

IntegrationError
├─ Postponed           our turn has not come                  → wait, spend no attempt
│  ├─ RateLimited      we, or Zoho, counted too many calls
│  ├─ LookAgain        a fact that nobody records              → wait off the line, look again
│  └─ NotYetKnown      a fact that another message records     → wait off the line until it does
├─ Unavailable         no answer from Zoho, PostgreSQL or a key ring → retry later
├─ Misconfigured       credentials, scope, organization, licence → pause, alert, spend no attempt
├─ CannotStart         a person has to change something first → exit code 2
├─ PermanentError      it fails the same way every time       → give up
│  ├─ InvalidMessage   the body does not match its contract
│  └─ ZohoRejected     Zoho understood the request and said no
└─ OutcomeUnknown      it may have been done already          → look before acting again

Every error has a `code` (stable, listed in docs/errors.md) and a reason fit for a person. Both are
logged and published in `command.failed.v1`. They hold our ids and codes, and never personal data,
an id of Zoho's or a URL of Zoho's.
"""

from __future__ import annotations


class IntegrationError(Exception):
    """Root of the tree. `code` is stable and machine-readable, `reason` is for a person."""

    code: str = "integration_error"

    def __init__(self, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        if code is not None:
            self.code = code


class Postponed(IntegrationError):
    """Our turn has not come. Wait `retry_after_s`, and spend no attempt."""

    code = "postponed"

    def __init__(self, reason: str, *, retry_after_s: float, code: str | None = None) -> None:
        super().__init__(reason, code=code)
        self.retry_after_s = retry_after_s


class RateLimited(Postponed):
    """A quota of Zoho's is used up. `limit` is minute, day, concurrency or token.

    `zoho_code` is Zoho's own code as text, where Zoho refused this very call.
    """

    code = "rate_limited"

    def __init__(
        self, reason: str, *, retry_after_s: float, product: str, limit: str, zoho_code: str = ""
    ) -> None:
        super().__init__(reason, retry_after_s=retry_after_s)
        self.product = product
        self.limit = limit
        self.zoho_code = zoho_code


class LookAgain(Postponed):
    """It waits for a fact that nobody records, such as a contact that Books mirrors.

    The message leaves its line and looks again after `retry_after_s`, later each time. Its wait has
    an end, after which it is given up under `code`.
    """

    code = "look_again"


class NotYetKnown(Postponed):
    """It needs a fact that is not recorded yet: `kind` (`user`, `contact`, `invoice`, …) and `key`.

    The message leaves its line and is woken by the transaction that records the fact. Its wait has
    an end, after which it is given up under `code`.
    """

    code = "unknown_user"

    def __init__(
        self, reason: str, *, kind: str = "user", key: str, code: str = "unknown_user"
    ) -> None:
        super().__init__(reason, retry_after_s=0.0, code=code)
        self.kind = kind
        self.key = key


class Unavailable(IntegrationError):
    """No usable answer now, and nothing was done: try again later, a bounded number of times."""

    code = "unavailable"

    def __init__(
        self, reason: str, *, retry_after_s: float | None = None, code: str | None = None
    ) -> None:
        super().__init__(reason, code=code)
        self.retry_after_s = retry_after_s


class Misconfigured(IntegrationError):
    """Nothing of this kind can succeed until a person corrects the set-up.

    `product` is accounts, billing, books, crm or desk. `cause` names what is wrong
    (invalid_client, refresh_token_dead, scope, organization, licence, disabled_user, …).
    """

    code = "misconfigured"

    def __init__(self, reason: str, *, product: str, cause: str, org: str = "default") -> None:
        super().__init__(reason)
        self.product = product
        self.cause = cause
        self.org = org


class StoppedBeforeStart(Exception):
    """The process was asked to stop while it waited for what it needs to begin."""


class CannotStart(IntegrationError):
    """A person has to change something first: starting again would fail in the same way."""

    code = "cannot_start"


class PermanentError(IntegrationError):
    """It fails the same way every time: give it up, and notify the sender."""

    code = "permanent_error"


class InvalidMessage(PermanentError):
    """The message does not match its contract. The reason names fields and no values."""

    code = "invalid_message"


class ZohoRejected(PermanentError):
    """Zoho understood the request and said no.

    `status` is the HTTP status, `zoho_code` Zoho's own code as text, `fields` the fields that it
    refused, by Zoho's names. Zoho's message is not kept, because it may quote what we sent.
    """

    code = "zoho_rejected"

    def __init__(
        self,
        reason: str,
        *,
        product: str,
        operation: str,
        status: int,
        zoho_code: str = "",
        fields: tuple[str, ...] = (),
        code: str | None = None,
    ) -> None:
        super().__init__(reason, code=code)
        self.product = product
        self.operation = operation
        self.status = status
        self.zoho_code = zoho_code
        self.fields = fields


class OutcomeUnknown(IntegrationError):
    """A write got no answer: it may have been done. Look after `search_lag_s` before acting."""

    code = "outcome_unknown"

    def __init__(self, reason: str, *, search_lag_s: float, code: str | None = None) -> None:
        super().__init__(reason, code=code)
        self.search_lag_s = search_lag_s
