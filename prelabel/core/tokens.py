"""How long a text is for an LLM, roughly, and how a text that is too long is cut.

Estimates need no vendor's tokenizer: about four characters a token in ASCII text, about one in scripts that
tokenizers split finely (Japanese, Chinese, Thai), three to four elsewhere, for which two is a careful figure.
"""

from collections.abc import Sequence

_FINE_SCRIPTS_FROM = 0x0E00  # Thai and all that follows: Hangul, kana, Han, emoji
_MARK = "[... {count} characters left out ...]"


def estimate_tokens(text: str) -> int:
    """Tokens that ``text`` costs, at least 0; meant to err on the high side."""
    if text.isascii():
        return -(-len(text) // 4)
    ascii_count = sum(char < "\x80" for char in text)
    fine_count = sum(ord(char) >= _FINE_SCRIPTS_FROM for char in text)
    return -(-ascii_count // 4) + -(-(len(text) - ascii_count - fine_count) // 2) + fine_count


def cut_middle(text: str, max_tokens: int) -> str:
    """``text`` with its middle left out so that it costs about ``max_tokens``, the cut noted in the place.

    Beginning and end say most of what a ticket is about. Whole lines are kept where there are enough of them, so a
    dialogue keeps its first turns and its last.
    """
    if estimate_tokens(text) <= max_tokens:
        return text
    room = max(0, max_tokens - estimate_tokens(_MARK) - 4)
    lines = text.splitlines()
    if len(lines) >= 4:
        head, tail = _fit(lines, room // 2), _fit(lines[::-1], room - room // 2)[::-1]
        if head and tail and estimate_tokens("\n".join((*head, *tail))) > room // 2:
            left_out = len(text) - len("\n".join((*head, *tail))) - 1
            return "\n".join((*head, _MARK.format(count=left_out), *tail))
    head_text, tail_text = _fit_characters(text, room // 2), _fit_characters(text[::-1], room - room // 2)[::-1]
    left_out = len(text) - len(head_text) - len(tail_text)
    return f"{head_text}\n{_MARK.format(count=left_out)}\n{tail_text}"


def _fit(lines: Sequence[str], max_tokens: int) -> list[str]:
    """As many of the first lines as cost at most ``max_tokens``."""
    taken: list[str] = []
    for line in lines:
        max_tokens -= estimate_tokens(line) + 1
        if max_tokens < 0:
            break
        taken.append(line)
    return taken


def _fit_characters(text: str, max_tokens: int) -> str:
    """The longest beginning of ``text`` that costs at most ``max_tokens``, found by halving."""
    low, high = 0, min(len(text), max_tokens * 4)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if estimate_tokens(text[:middle]) <= max_tokens else (low, middle - 1)
    return text[:low]
