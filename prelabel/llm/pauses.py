"""How long is waited before a request is tried again."""

import random

from prelabel.errors import LLMUnavailable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 20.0
LONGEST_ASKED_S = 600.0
"""A server that asks to be left alone for longer is tried again after this."""


def pause_s(error: LLMUnavailable, tries: int) -> float:
    """Seconds: at random below a limit that doubles with each try, but no less than the server asks for.

    :param tries: that have failed, at least 1.
    """
    most = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**tries)
    asked_s = min(error.retry_after_s, LONGEST_ASKED_S)
    return max(asked_s, random.uniform(0, most))  # noqa: S311  a pause is no secret
