"""A guideline's text to snippets of a bounded size, each named by its file and the headings it stands under.

Cut where the text itself has its joints: at headings, then blank lines, lines, sentences, words. Neighbours under one
heading stay together as long as there is room.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from prelabel.core.tokens import estimate_tokens
from prelabel.core.types import Note

LONGEST_SNIPPET_TOKENS = 120
"""Name and text: a paragraph or two, so that a snippet is about one thing."""
LEAST_TEXT_TOKENS = 60
"""Room for text where names are long."""
LONGEST_HEADING = 60
"""Characters of the headings above a text; the topmost go first."""

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_CODE = re.compile(r" {0,3}(?:```|~~~)")
_UNREAD = re.compile(r"\A---\n.*?\n---\n|<!--.*?-->", re.DOTALL)
"""What Markdown does not show: what is said of the file before it, and comments."""
_JOINTS = tuple(map(re.compile, (r"(?<=\n\n)", r"(?<=\n)", r"(?<=[.!?] )|(?<=[。！？])", r"(?<= )")))  # noqa: RUF001


def split_guideline(name: str, text: str, *, has_headings: bool) -> list[Note]:
    """The snippets of the text called ``name``, in its order.

    :param has_headings: it is Markdown.
    """
    text = "\n".join(line.rstrip() for line in text.splitlines())
    sections = _sections(_UNREAD.sub("", text)) if has_headings else iter([("", text)])
    notes: dict[str, Note] = {}
    counts: Counter[str] = Counter()
    for heading, body in sections:
        place = f"{name}: {heading}" if heading else name
        room = max(LEAST_TEXT_TOKENS, LONGEST_SNIPPET_TOKENS - estimate_tokens(place))
        for piece in _pieces(re.sub(r"\n{2,}", "\n\n", body), room):
            full = place
            while full in notes:
                counts[place] += 1
                full = f"{place} ({counts[place] + 1})"
            notes[full] = Note(full, piece)
    return [*notes.values()]


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Each text with the headings above it, as ``Refunds > Late returns``."""
    above: dict[int, str] = {}
    lines: list[str] = []
    in_code = False
    for line in text.split("\n"):
        in_code ^= bool(_CODE.match(line))
        if in_code or not (found := _HEADING.match(line)):
            lines.append(line)
            continue
        yield _heading(above), "\n".join(lines)
        lines, level = [], len(found[1])
        above = {each: title for each, title in above.items() if each < level} | ({level: found[2]} if found[2] else {})
    yield _heading(above), "\n".join(lines)


def _heading(above: Mapping[int, str]) -> str:
    titles = [*above.values()]
    while len(titles) > 1 and len(" > ".join(titles)) > LONGEST_HEADING:
        del titles[0]
    return " > ".join(titles)[:LONGEST_HEADING]


def _pieces(text: str, room: int) -> Iterator[str]:
    piece = ""
    for part in _parts(text, room):
        if piece and estimate_tokens((piece + part).strip()) > room:
            if piece.strip():
                yield piece.strip()
            piece = ""
        piece += part
    if piece.strip():
        yield piece.strip()


def _parts(text: str, room: int, joints: tuple[re.Pattern[str], ...] = _JOINTS) -> Iterator[str]:
    """``text`` in parts that cost at most ``room`` each, cut at the foremost joints that do."""
    if estimate_tokens(text.strip()) <= room:
        yield text
    elif joints:
        for part in joints[0].split(text):
            yield from _parts(part, room, joints[1:])
    else:  # one token a character at most
        yield from (text[start : start + room] for start in range(0, len(text), room))
