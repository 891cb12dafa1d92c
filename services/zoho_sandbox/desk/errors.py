"""Build Zoho Desk's errors: `errorCode`, `message`, and the refused fields with their reasons."""

from __future__ import annotations

from typing import Any


class DeskError(Exception):
    """A refusal raised anywhere in Desk. The routes turn it into the answer."""

    def __init__(
        self, status: int, code: str, message: str, errors: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__(code)
        self.status = status
        self.body: dict[str, Any] = {"errorCode": code, "message": message}
        if errors is not None:
            self.body["errors"] = errors


def invalid_data(*errors: tuple[str, str]) -> DeskError:
    """Return a 422 with (path, `invalid` | `missing` | `duplicate`) for each refused field."""
    details = [
        {"fieldName": f"/{name}", "errorType": kind, "errorMessage": ""} for name, kind in errors
    ]
    message = "The data does not comply to the validation restrictions defined."
    return DeskError(422, "INVALID_DATA", message, details)


def unprocessable(message: str) -> DeskError:
    """Return a 422 for extra parameters and values out of range."""
    return DeskError(422, "UNPROCESSABLE_ENTITY", message)


def not_found() -> DeskError:
    """Return a 404, also for the id of a merged ticket."""
    return DeskError(404, "URL_NOT_FOUND", "The URL you requested could not be found.")
