"""Turn HTML that agents wrote into plain text, to send to users and to find our references in."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

_HIDDEN = {"script", "style", "head", "title", "template"}
_BLOCKS = {
    "address", "article", "blockquote", "div", "dl", "dt", "dd", "footer", "h1", "h2", "h3", "h4",
    "h5", "h6", "header", "hr", "ol", "p", "pre", "section", "table", "tr", "ul",
}  # fmt: skip
_TAG = re.compile(r"<[a-zA-Z/!][^>]*>")


def plain_text(markup: str | None) -> str | None:
    """Return the text without tags, scripts and styles, each block on a line. None when empty."""
    if markup is None:
        return None
    if not _TAG.search(markup):
        return _tidy(html.unescape(markup))  # an API wrote plain text: its lines are lines
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return _tidy("".join(reader.parts))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden_depth += 1
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag == "br" or tag in _BLOCKS:
            self.parts.append("\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden_depth = max(0, self._hidden_depth - 1)
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden_depth:
            self.parts.append(re.sub(r"\s+", " ", data))


def _tidy(text: str) -> str | None:
    lines = [re.sub(r"[ \t\xa0]+", " ", line).strip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() or None
