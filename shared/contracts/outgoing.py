"""Define the base of all outgoing models: allow-lists that hold no link to Zoho."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from shared.contracts.links import refuse_zoho_links, without_zoho_links


class OutgoingModel(BaseModel):
    """Refuses links to Zoho. Unknown fields are ignored, so that a new one is no new version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="after")
    def _holds_refuse_zoho_links_link(self) -> Self:
        for field, value in self.__dict__.items():
            # Models inside have checked themselves. Ids and codes are the application's own words,
            # whatever they look like: `zoho.alice` is a user and no page.
            if not field.endswith(("_id", "_code")) and not _of_models(value):
                refuse_zoho_links(value)
        return self


def _of_models(value: object) -> bool:
    if isinstance(value, tuple):
        return bool(value) and isinstance(value[0], BaseModel)
    return isinstance(value, BaseModel)


# What people wrote (a resolution, a comment) may quote a link. The link is taken out of it.
PeoplesText = Annotated[str, AfterValidator(without_zoho_links)]
