"""Collect the values of this run that must be in no log line, from where they pass.

- What the sandboxes recorded (tests.contract.plugin): requests of our clients and the answers to
  them, with ids, emails, names, phone numbers and texts. Tokens are not recorded. Their shape is
  enough.
- Every `SecretStr` that was made in this process: settings, passwords, client secrets.
- The secrets and settings of every stack that was started, and what a sandbox has by default,
  its organizations included: they are the only ids known by their value and not by their length.
- Names that the tests' own sources give to people: `full_name="…"`, `"last_name": "…"`.

Rules on what counts: an id has 15 digits or more. An email, phone number or secret at least
`SHORTEST` characters, a secret also more than one lower-case word (a test's `"secret"` is a word
of our events too). A text at least two words and 12 characters. A name at least three characters
and an upper-case letter. Names are matched between word borders, everything else anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from deploy.local.stack import Stack
from services.zoho_sandbox.settings import SandboxSettings
from tests.kit.known_secrets import SECRET_SETTINGS
from tests.kit.known_secrets import secrets as secrets_of_settings
from tests.kit.leak_search import SHORTEST, Needle

_NAMES: Final = frozenset(
    {
        *("display_name", "full_name", "first_name", "last_name", "customer_name", "contact_name"),
        *("firstname", "lastname", "fullname", "company_name", "card_holder_name"),
    }
)
_PHONES: Final = frozenset({"phone", "mobile"})
_TEXTS: Final = frozenset(
    {"subject", "description", "content", "resolution", "note_content", "note_title", "comment"}
)
_ID: Final = re.compile(r"\d{15,20}")
# At most as long as an address may be: without a bound, a long text takes the square of its length.
_EMAIL: Final = re.compile(r"[^\s@<>\"'(),:;]{1,64}@[^\s@<>\"'(),:;]{1,255}\.[a-zA-Z]{2,}")
_GIVEN: Final = re.compile(
    rf"[\"']?\b({'|'.join(sorted(_NAMES))})[\"']?\s*[:=]\s*[\"']([^\"'{{}}\n]+)[\"']", re.IGNORECASE
)
_TELLING: Final = 80  # characters of a text. A transcript has ten thousands
_PASSWORD: Final = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")
_PLAIN_WORD: Final = re.compile(r"[a-z]+")


def recorded(lines: Iterable[bytes]) -> Iterator[Needle]:
    """Return what is personal, or Zoho's, in exchanges as the sandbox records them."""
    for line in lines:
        exchange = json.loads(line)
        for part in ("path", "query", "body", "answer"):
            yield from _of("", exchange.get(part))


def _of(key: str, value: Any) -> Iterator[Needle]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _of(name.lower(), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _of(key, inner)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield from _of_text(key, str(value))


def _of_text(key: str, text: str) -> Iterator[Needle]:
    if text.startswith(("{", "[")):  # a parameter that is JSON itself
        try:
            yield from _of(key, json.loads(text))
        except ValueError:
            pass
        else:
            return
    yield from (Needle("Zoho id", found) for found in _ID.findall(text))
    if "@" in text:
        yield from (Needle("email", found) for found in _EMAIL.findall(text))
    for line in map(str.strip, text.splitlines()):
        if key in _NAMES:
            yield from name(line)
        elif key in _PHONES and len(line) >= SHORTEST:
            yield Needle("phone", line)
        elif key in _TEXTS and len(line) >= 12 and " " in line:
            yield Needle("text", line[:_TELLING].rstrip())


def name(text: str) -> Iterator[Needle]:
    """Return a person's name, if it can be distinguished from other words."""
    text = text.strip()
    if len(text) >= 3 and text != text.lower():
        yield Needle("name", text)


def given_in(sources: Iterable[Path]) -> Iterator[Needle]:
    """Names that test people have, as they are written in the tests."""
    for source in sources:
        for found in _GIVEN.finditer(source.read_text()):
            yield from name(found[2])


def secret(text: str) -> Iterator[Needle]:
    """Of a URL its password, of a key ring its keys, of a list each entry, else the text itself."""
    if "://" in text:
        # Not urlsplit(): it refuses what tests of bad settings are made of.
        text = ",".join(_PASSWORD.findall(text))
    for entry in re.split(r"[,\n]", text):
        for part in {entry, entry.partition(":")[2]}:
            if len(part) >= SHORTEST and not _PLAIN_WORD.fullmatch(part):
                yield Needle("secret", part)


def of_stack(folder: Path) -> Iterator[Needle]:
    """Everything in a stack's `secrets.json`, and the secrets of its settings."""
    if (file := folder / "secrets.json").exists():
        for value in json.loads(file.read_text()).values():
            yield from secret(str(value))
    stack = Stack(folder)
    # A stack of servers alone has fewer.
    needed = (*SECRET_SETTINGS, "DATABASE_URL", "AMQP_URL", "ENCRYPTION_KEYS", "INDEX_KEYS")
    settings = dict.fromkeys(needed, "") | stack.settings
    for needle in secrets_of_settings({"accounts": {"tokens": []}}, settings):
        yield from secret(needle.value)
    for value in stack.env.values():
        if "://" in value:
            yield from secret(value)


def of_the_sandbox() -> Iterator[Needle]:
    """Return the default data of a sandbox, which is made before anything is recorded."""
    settings = SandboxSettings()
    for text in (settings.client_secret, settings.refresh_token):
        yield from secret(text.get_secret_value())
    for number in (settings.organization_id, settings.desk_org_id, settings.desk_department_id):
        yield Needle("Zoho id", number)
