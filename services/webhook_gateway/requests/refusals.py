"""Define why a webhook is refused. All are permanent: a repeated request is refused again."""

from shared.errors import PermanentError


class Unauthentic(PermanentError):
    """Not from Zoho, or signed with a secret that we do not know. Answered 401."""

    code = "not_authentic"


class Malformed(PermanentError):
    """The body cannot be read. Answered 400."""

    code = "malformed_body"


class TooLarge(PermanentError):
    """The body is over 1 MiB. Answered 413."""

    code = "body_too_large"


class UnknownOrganization(PermanentError):
    """No organization of that name. Answered 404."""

    code = "unknown_organization"
