"""Create a comment on a ticket in Desk, once for each reference."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from services.desk_worker.tickets.texts import ends_with_ref, with_ref
from shared.zoho.effects.effects import Effect, EffectResult
from shared.zoho.products.desk.client import ZohoDesk


@dataclass(frozen=True, kw_only=True)
class CreateComment(Effect[ZohoDesk]):
    """A comment that ends with its reference. By it the comment is found again."""

    zoho: ZohoDesk
    ticket_id: str
    reference: str
    text: str
    is_public: bool

    async def act(self, zoho: ZohoDesk) -> EffectResult:
        comment = await zoho.create_comment(
            self.ticket_id,
            content=with_ref(self.text, self.reference),
            is_public=self.is_public,
        )
        return self._result(comment.id)

    async def find(self) -> EffectResult | None:
        for comment in await self.zoho.comments_of(self.ticket_id):
            if ends_with_ref(comment.content, self.reference):
                return self._result(comment.id)
        return None

    @property
    def fingerprint(self) -> str:
        """Return a digest by which the same reference with another text shows."""
        content = with_ref(self.text, self.reference) + f" {self.is_public}"
        return hashlib.sha256(content.encode()).hexdigest()

    def _result(self, comment_id: str) -> EffectResult:
        return {"comment_id": comment_id, "fingerprint": self.fingerprint}
