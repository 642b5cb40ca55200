"""HTML to the text that a reader sees, in one pass: no tree, so neither depth nor layout tricks cost anything.

libxml2 reads it, since Python's own parser takes minutes over 200,000 characters of a tag that never ends.
"""

from lxml import etree

UNSEEN = frozenset({"head", "script", "style", "template", "title"})
INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "img", "ins"}
    | {"kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var"}
    | {"wbr"}
)


def html_text(html: str) -> str:
    """``html`` without its tags, a line to each block; what is no HTML at all stays as it is. Nothing is fetched."""
    reader = _Reader()
    parser = etree.HTMLParser(target=reader, encoding="utf-8", huge_tree=True, no_network=True)
    parser.feed(html.encode("utf-8", "replace"))
    text: str = parser.close()
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(filter(None, lines))


class _Reader:
    """What libxml2 calls with each tag and each piece of text."""

    def __init__(self) -> None:
        self._seen: list[str] = []
        self._unseen = 0

    def start(self, tag: str, attributes: object) -> None:  # noqa: ARG002 - libxml2's call
        self._unseen += tag in UNSEEN
        self._break_line(tag)

    def end(self, tag: str) -> None:
        self._unseen -= tag in UNSEEN
        self._break_line(tag)

    def data(self, text: str) -> None:
        if not self._unseen:
            self._seen.append(text)

    def close(self) -> str:
        return "".join(self._seen)

    def _break_line(self, tag: str) -> None:
        if tag not in INLINE:
            self._seen.append("\n")
