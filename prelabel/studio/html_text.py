"""HTML to the text that a reader sees, in one pass: no tree, so neither depth nor layout tricks cost anything."""

from html.parser import HTMLParser

UNSEEN = frozenset({"head", "script", "style", "template", "title"})
INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "img", "ins"}
    | {"kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var"}
    | {"wbr"}
)


def html_text(html: str) -> str:
    """``html`` without its tags, a line to each block; what is no HTML at all stays as it is. Nothing is fetched."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.seen).splitlines())
    return "\n".join(filter(None, lines))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[str] = []
        self._unseen = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - HTMLParser's
        if tag in UNSEEN and not self._unseen:
            self._unseen = tag
        self._break_line(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - HTMLParser's
        self._break_line(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen or (self._unseen in {"head", "title"} and tag in {"html", "body"}):
            self._unseen = ""
        self._break_line(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.seen.append(data)

    def _break_line(self, tag: str) -> None:
        if tag not in INLINE:
            self.seen.append("\n")
