"""Name what an effect needs of the mark by which a restore of the database is noticed."""

from __future__ import annotations

from typing import Protocol


class WorkMark(Protocol):
    """The mark of a service's schema. It rises in the statement that commits an intent."""

    schema: str

    def floor(self) -> int:
        """Return a mark that was committed before now."""

    async def confirm(self, mark: int | None, floor: int) -> None:
        """Keep the mark outside of the database, before Zoho is asked for anything.

        Raises:
            Postponed: it is not above `floor`, so the database went back. Nothing may be done.
        """


class NoWorkMark:
    """Watches nothing: for programs that do not watch their database."""

    schema = ""

    def floor(self) -> int:
        return 0

    async def confirm(self, mark: int | None, floor: int) -> None:
        return None
