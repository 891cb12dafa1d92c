"""Search recorded events and replies for ids and addresses of Zoho's, those in PDFs included."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pypdf import PdfReader
from pypdf.generic import (
    ArrayObject,
    ByteStringObject,
    DictionaryObject,
    IndirectObject,
    StreamObject,
    TextStringObject,
)

# Written here once more, and wider than the product's own: a mailbox at zoho.com is no page.
HOST: Final = re.compile(r"(?<![@\w.-])(?:[\w-]+\.)*zoho\w*\.[a-z]{2,}", re.IGNORECASE)
_DIGITS: Final = re.compile(r"\d{15,20}")
_PDF: Final = re.compile(rb"%PDF-")


@dataclass(frozen=True)
class Found:
    """What was found, in which message, and where in it. The value is not repeated."""

    what: str
    message: str
    where: str

    def __str__(self) -> str:
        return f"{self.what} in {self.message}: {self.where}"


def search(lines: Iterable[bytes], ids: Collection[str]) -> tuple[int, list[Found]]:
    """How many messages there are, and what they hold of Zoho's. `ids` are those it gave out."""
    count, found = 0, []
    for line in lines:
        message = json.loads(line)
        count += 1
        name = message["name"] if message["kind"] == "event" else "a reply"
        for where, text in _texts("", json.loads(message["body"])):
            found += [Found(what, name, where) for what in _of_zoho(text, ids)]
    return count, found


def _of_zoho(text: str, ids: Collection[str]) -> Iterator[str]:
    if HOST.search(text):
        yield "an address of Zoho's"
    if any(number in ids for number in _DIGITS.findall(text)):
        yield "an id of Zoho's"


def _texts(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text of a message with its path. Of a PDF, what it says and holds."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield where, name
            yield from _texts(f"{where}.{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(where, inner)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield where, str(value)
        if isinstance(value, str) and (pdf := _pdf_in(value)):
            yield from ((f"{where} (PDF)", text) for text in texts_of_pdf(pdf))


def _pdf_in(text: str) -> bytes | None:
    if not text.startswith("JVBERi"):  # "%PDF-" in base64
        return None
    content = base64.b64decode(text)
    return content if _PDF.match(content) else None


def texts_of_pdf(pdf: bytes) -> Iterator[str]:
    """The bytes of the file, its unpacked streams, every string in it, and what its pages say."""
    yield pdf.decode("latin-1")
    reader = PdfReader(io.BytesIO(pdf))
    for page in reader.pages:
        yield page.extract_text()
    yield from _strings(reader.trailer, set())


def _strings(node: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(node, IndirectObject):
        if node.idnum in seen:
            return
        seen.add(node.idnum)
        node = node.get_object()
    if isinstance(node, StreamObject):
        yield node.get_data().decode("latin-1")
    if isinstance(node, DictionaryObject):
        for inner in node.values():
            yield from _strings(inner, seen)
    elif isinstance(node, ArrayObject):
        for inner in node:
            yield from _strings(inner, seen)
    elif isinstance(node, TextStringObject | ByteStringObject):
        yield node.decode("latin-1") if isinstance(node, bytes) else str(node)
