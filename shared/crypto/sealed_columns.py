"""Seal and open the columns of one table, each value bound to its table, column and row."""

from __future__ import annotations

from typing import overload

from shared.crypto.envelope import KeyOwner, Vault


class SealedColumns:
    """The sealed columns of `table`, named with its schema: `billing.users`.

    The context of a value is authenticated with it. So a value copied into another row fails to
    open instead of showing one person's data as another's.
    """

    def __init__(self, vault: Vault, table: str) -> None:
        self._vault = vault
        self._table = table

    async def seal(self, owner: KeyOwner, column: str, row: str, text: str) -> bytes:
        """Seal a text under the owner's key. `row` is the row's id within the organization.

        Raises as `Vault.seal_bytes`.
        """
        return await self._vault.seal(owner, text, self._context(owner.org, column, row))

    @overload
    async def open(self, org: str, column: str, row: str, blob: bytes) -> str: ...

    @overload
    async def open(self, org: str, column: str, row: str, blob: bytes | None) -> str | None: ...

    async def open(self, org: str, column: str, row: str, blob: bytes | None) -> str | None:
        """Open a text that was sealed for this column and row. None stays None.

        Raises as `Vault.open_bytes`.
        """
        if blob is None:
            return None
        return await self._vault.open(blob, self._context(org, column, row))

    def _context(self, org: str, column: str, row: str) -> str:
        return f"{self._table}.{column}:{org}:{row}"
