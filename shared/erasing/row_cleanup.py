"""Name the statements by which a service forgets what does not carry the user's id itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowCleanup:
    """Statements around the deletion of a user's rows, in its transaction.

    Each takes the organization (`$1`) and the user (`$2`). `before`: they find rows by rows of the
    user. `after`: they see that the user's rows are gone.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
