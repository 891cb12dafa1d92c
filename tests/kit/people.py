"""Name people for tests. A name that a search can find holds nothing of the user_id."""

from __future__ import annotations

from services.zoho_sandbox.driver import Json


def email_of(user_id: str) -> str:
    return f"{user_id}@example.com"


def sign_up_of(user_id: str) -> Json:
    """The body of `user.signed_up.v1`."""
    return {"user_id": user_id, "email": email_of(user_id), "full_name": f"Per {user_id[::-1]}"}
