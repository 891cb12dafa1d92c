"""Create a note on a contact in CRM, once for each interaction."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contracts.commands import InteractionRecorded
from shared.contracts.fingerprint import fingerprint
from shared.zoho.effects.effects import Effect, EffectResult
from shared.zoho.products.crm.client import ZohoCrm


@dataclass(frozen=True, kw_only=True)
class CreateNote(Effect[ZohoCrm]):
    """A note whose last line is our reference. By it the note is found again.

    Its result holds the fingerprint of the content, by which the same id with other content shows.
    """

    zoho: ZohoCrm
    message: InteractionRecorded
    contact_id: str

    @property
    def _reference(self) -> str:
        return f"ref {self.message.interaction_id}"

    async def act(self, zoho: ZohoCrm) -> EffectResult:
        row = await zoho.create_note(
            self.contact_id,
            title=self.message.title,
            content=f"{self.message.content}\n\n{self._reference}",
        )
        return self._result(row.id)

    async def find(self) -> EffectResult | None:
        async for note in self.zoho.notes_of(self.contact_id):
            if (note.content or "").splitlines()[-1:] == [self._reference]:
                return self._result(note.id)
        return None

    def _result(self, note_id: str | None) -> EffectResult:
        return {"note_id": note_id, "fingerprint": fingerprint(self.message)}
