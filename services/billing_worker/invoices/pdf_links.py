"""Remove Zoho's links from a PDF, or refuse the PDF.

Links are in annotations, in text drawn on the page and in the document's own entries, mostly in
compressed streams. So the file is parsed and not searched as bytes.
"""

from __future__ import annotations

import io
from typing import Any, Final

from pypdf import PdfReader, PdfWriter
from pypdf.errors import PyPdfError
from pypdf.generic import (
    ArrayObject,
    ByteStringObject,
    ContentStream,
    DictionaryObject,
    IndirectObject,
    NameObject,
    PdfObject,
    StreamObject,
    TextStringObject,
)

from shared.contracts.links import holds_zoho_link, without_zoho_links
from shared.errors import PermanentError

_SHOWS_TEXT: Final = (b"Tj", b"'", b'"', b"TJ")


def without_links(pdf: bytes) -> bytes:
    """Return the document without links to Zoho. Fonts, pictures and the rest stay.

    Raises:
        PermanentError: `pdf_contains_zoho_link`. It is no PDF we can read, or a link is left.
    """
    try:
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf), strict=False))
        for page in writer.pages:
            _clean_annotations(page)
            _clean_text(page, writer)
        _clean_entries(writer)
        # Copied once more, because objects without a reference are not copied.
        cleaned = _written(PdfWriter(clone_from=PdfReader(io.BytesIO(_written(writer)))))
        left = _holds_link(cleaned)
    except (PyPdfError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refused("the PDF cannot be read") from error
    if left:
        raise _refused("the PDF has a link to a page of Zoho's that cannot be taken out")
    return cleaned


def _written(writer: PdfWriter) -> bytes:
    output = io.BytesIO()
    writer.write(output)
    return output.getvalue()


def _refused(reason: str) -> PermanentError:
    return PermanentError(reason, code="pdf_contains_zoho_link")


def _clean_annotations(page: DictionaryObject) -> None:
    annotations = page.get("/Annots")
    if annotations is None:
        return
    kept = ArrayObject(
        annotation
        for annotation in annotations.get_object()
        if not any(holds_zoho_link(text) for text in _texts(annotation.get_object(), set()))
    )
    page[NameObject("/Annots")] = kept


def _clean_text(page: Any, writer: PdfWriter) -> None:
    contents = page.get_contents()
    if contents is None:
        return
    stream = ContentStream(contents, writer)
    changed = False
    for operands, operator in stream.operations:
        if operator in _SHOWS_TEXT and operands:
            changed |= _clean_operand(operands)
    if changed:
        stream.get_data()  # serializes the operations, which flate_encode reads
        page[NameObject("/Contents")] = writer._add_object(stream.flate_encode())  # noqa: SLF001


def _clean_operand(operands: Any) -> bool:
    """Replace the text that an operator draws. Pieces are judged together, as one text."""
    last = operands[-1]
    pieces = last if isinstance(last, ArrayObject) else [last]
    whole = "".join(_drawn(piece) for piece in pieces)
    if not holds_zoho_link(whole):
        return False
    cleaned = ByteStringObject(without_zoho_links(whole).encode("latin-1"))
    operands[-1] = ArrayObject([cleaned]) if isinstance(last, ArrayObject) else cleaned
    return True


def _drawn(piece: Any) -> str:
    """The codes of the characters drawn, one byte each. Pieces that only move draw none."""
    if isinstance(piece, TextStringObject):
        return piece.original_bytes.decode("latin-1")
    return piece.decode("latin-1") if isinstance(piece, bytes) else ""


def _clean_entries(writer: PdfWriter) -> None:
    """Clean metadata, and what the document does when it is opened."""
    for name in ("/Metadata", "/OpenAction", "/AA", "/Names", "/URI"):
        entry = writer.root_object.get(name)
        if entry is not None and any(
            holds_zoho_link(text) for text in _texts(entry.get_object(), set())
        ):
            del writer.root_object[NameObject(name)]
    metadata = writer._info  # noqa: SLF001 - pypdf's public property is read-only
    if metadata is not None:
        for name in [n for n, value in metadata.items() if holds_zoho_link(_text(value))]:
            del metadata[name]


def _holds_link(pdf: bytes) -> bool:
    reader = PdfReader(io.BytesIO(pdf), strict=False)
    if any(holds_zoho_link(page.extract_text()) for page in reader.pages):
        return True
    seen: set[int] = set()
    return any(holds_zoho_link(text) for text in _texts(reader.trailer, seen))


def _texts(value: PdfObject | None, seen: set[int]) -> list[str]:
    """Every text below an object: strings, and the unpacked content of streams."""
    texts: list[str] = []
    pending: list[Any] = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, IndirectObject):
            if node.idnum in seen:
                continue
            seen.add(node.idnum)
            node = node.get_object()
        if isinstance(node, StreamObject) and node.get("/Subtype") != "/Image":
            texts.append(node.get_data().decode("latin-1"))
        if isinstance(node, DictionaryObject):
            pending += [child for name, child in node.items() if name != "/Parent"]
        elif isinstance(node, ArrayObject):
            pending += list(node)
        elif isinstance(node, TextStringObject | ByteStringObject):
            texts.append(_text(node))
    return texts


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
