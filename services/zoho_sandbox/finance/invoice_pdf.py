"""Build an invoice's PDF with a pay link, as in Zoho's own, in places that a plain search misses.

The page's text is Flate-compressed. The link's annotation is in a compressed object stream, found
only through a cross-reference stream (PDF 1.5).
"""

from __future__ import annotations

import struct
import zlib


def invoice_pdf(number: str, customer: str, total: float, currency: str, pay_url: str) -> bytes:
    """Return one page with the invoice's number, customer, total and a link to pay it."""
    lines = [f"INVOICE {number}", f"Bill to: {customer}", f"Total: {currency} {total:.2f}",
             f"Pay now: {pay_url}"]  # fmt: skip
    text = "BT /F1 12 Tf 72 720 Td 18 TL " + " T* ".join(f"({_escaped(s)}) Tj" for s in lines)
    packed = [  # objects 6 and 7, inside the object stream
        "<< /Type /Annot /Subtype /Link /Rect [72 650 400 670] /Border [0 0 0] /A 7 0 R >>",
        f"<< /S /URI /URI ({_escaped(pay_url)}) >>",
    ]
    offsets, position = [], 0
    for body in packed:
        offsets.append(position)
        position += len(body) + 1
    index = " ".join(f"{number_} {offset}" for number_, offset in zip((6, 7), offsets, strict=True))
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> /Annots [6 0 R] >>",
        4: _stream(b"", (text + " ET").encode("cp1252", "replace")),
        5: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        8: _stream(
            f"/Type /ObjStm /N 2 /First {len(index) + 1}".encode(),
            f"{index} {' '.join(packed)}".encode(),
        ),
    }
    return _file(objects, packed_in={6: (8, 0), 7: (8, 1)})


def _file(objects: dict[int, bytes], packed_in: dict[int, tuple[int, int]]) -> bytes:
    output = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    rows = {0: (0, 0, 65535)}
    for number, body in objects.items():
        rows[number] = (1, len(output), 0)
        output += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    rows |= {number: (2, holder, place) for number, (holder, place) in packed_in.items()}
    start, last = len(output), max(rows) + 1
    rows[last] = (1, start, 0)
    table = b"".join(struct.pack(">BIH", *rows[number]) for number in range(last + 1))
    head = b"/Type /XRef /Size %d /W [1 4 2] /Root 1 0 R" % (last + 1)
    output += b"%d 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (
        last,
        _stream(head, table),
        start,
    )
    return bytes(output)


def _stream(head: bytes, content: bytes) -> bytes:
    packed = zlib.compress(content)
    return b"<< %s /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (
        head,
        len(packed),
        packed,
    )


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
