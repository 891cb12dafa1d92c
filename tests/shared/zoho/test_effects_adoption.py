"""Test that what others have made is adopted while it is there to be adopted."""

from typing import Any

import pytest

from shared.errors import PermanentError
from shared.zoho.call.http import Permit
from tests.shared.zoho.effects_world import World, key_of


async def test_what_was_there_is_not_adopted_once_it_has_gone_to_another(world: World) -> None:
    """Another replica tried meanwhile: all is decided anew, and what was found before is gone."""
    looks: list[str] = []

    async def refused(_permit: Permit) -> dict[str, Any]:
        raise PermanentError("Zoho says no")

    async def adopt() -> dict[str, Any] | None:
        looks.append("look")
        if len(looks) > 1:
            return None
        with pytest.raises(PermanentError):
            await world.make(key_of(), refused, replica=world.replica())
        return {"id": "anothers"}

    async def act(permit: Permit) -> dict[str, Any]:
        return {"id": world.zoho.write(key_of(), permit)}

    async def find() -> dict[str, Any] | None:
        return world.zoho.search(key_of())

    result = await world.make(key_of(), act, find=find, prepare=adopt)

    assert len(looks) == 2
    assert [result["id"]] == world.zoho.made_of(key_of())
