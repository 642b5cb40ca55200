"""JSON as some models write it, to JSON: for replies in which nothing could be read as they are.

Only what cannot change an answer is mended. ``tests/unit/test_replies_seen.py`` has replies of this kind with their
sources.
"""

import re

_PUNCTUATION = str.maketrans("“”„‟＂：，｛｝［］", '""""":,{}[]')  # noqa: RUF001  that is what is replaced
"""Of texts in Chinese, Japanese or German, by models that go on in the same manner."""
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")


def mended(reply: str) -> str:
    """``reply`` with typographic punctuation, commas before closing brackets and Python's quotes made JSON's."""
    plain = _TRAILING_COMMA.sub("", reply.translate(_PUNCTUATION))
    return plain if '"' in plain else plain.replace("'", '"')
