"""Guidelines cut into snippets: at their own joints, none too long, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.snippets import LONGEST_SNIPPET_TOKENS, split_guideline
from prelabel.core.tokens import estimate_tokens
from prelabel.core.types import Note

GUIDELINE = """---
owner: support
---
Read this first.

# Labels

## Refunds ##
Money back.

- late ones
- too low ones

### Abroad
Takes longer.
<!-- ask the lawyers -->

## Shipping

```
# no heading
```
# Other
"""


def test_markdown_is_cut_at_headings_which_name_the_snippets() -> None:
    assert split_guideline("a/b.md", GUIDELINE, has_headings=True) == [
        Note("a/b.md", "Read this first."),
        Note("a/b.md: Labels > Refunds", "Money back.\n\n- late ones\n- too low ones"),
        Note("a/b.md: Labels > Refunds > Abroad", "Takes longer."),
        Note("a/b.md: Labels > Shipping", "```\n# no heading\n```"),
    ]


def test_plain_text_has_no_headings() -> None:
    assert split_guideline("a.txt", "# 1 thing\r\n\r\nMore.\r\n", has_headings=False) == [
        Note("a.txt", "# 1 thing\n\nMore.")
    ]


def test_what_is_too_long_for_one_is_cut_at_blank_lines_first() -> None:
    paragraphs = [f"Number {number}: " + "word " * 50 + "end." for number in range(4)]

    notes = split_guideline("a.txt", "\n\n".join(paragraphs), has_headings=False)

    assert notes == [
        Note(f"a.txt ({number})" if number > 1 else "a.txt", text) for number, text in enumerate(paragraphs, 1)
    ]


@pytest.mark.parametrize(
    ("text", "joint"),
    [
        ("- a line of a list\n" * 60, "list"),
        ("This is a sentence. " * 60, "sentence."),
        ("退款要在三十天内。" * 60, "。"),
    ],
)
def test_a_long_paragraph_is_cut_between_lines_or_sentences(text: str, joint: str) -> None:
    notes = split_guideline("a.txt", text, has_headings=False)

    assert len(notes) > 1
    assert all(note.text.endswith(joint) for note in notes)


def test_names_are_unique() -> None:
    text = "# A\n1\n# A (2)\n2\n# A\n3\n# A\n4"

    notes = split_guideline("a.md", text, has_headings=True)

    assert [note.name for note in notes] == ["a.md: A", "a.md: A (2)", "a.md: A (3)", "a.md: A (4)"]


def test_of_long_headings_the_nearest_remain() -> None:
    [note] = split_guideline("a.md", f"# {'x' * 50}\n## Refunds\n### Abroad\ntext", has_headings=True)

    assert note.name == "a.md: Refunds > Abroad"


@given(st.text() | st.text("# \n.-a。退`~").map(lambda text: text * 20), st.booleans())
def test_nothing_but_space_is_lost_and_nothing_is_too_long(text: str, has_headings: bool) -> None:
    notes = split_guideline("a", text, has_headings=has_headings)

    assert all(note.text.strip() and estimate_tokens(note.text) <= LONGEST_SNIPPET_TOKENS for note in notes)
    assert len({note.name for note in notes}) == len(notes)
    if not has_headings:
        assert "".join("".join(note.text for note in notes).split()) == "".join(text.split())
