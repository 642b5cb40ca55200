"""What people see of a start: a line for each step, with the seconds it took.

On a terminal the seconds count up meanwhile. Nothing here fails for a terminal that is gone, since servers still have
to be ended then.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import get_terminal_size
from textwrap import indent, wrap
from threading import Event, Thread

WIDTH = 72
TICK_S = 0.2


@dataclass(slots=True)
class Step:
    """A step that is being taken."""

    text: str
    """What stands in its line; may be changed until it is over."""


def say(text: str = "") -> None:
    """A line, or several."""
    _write(text + "\n")


def remark(text: str) -> None:
    """What there is to say about the step before."""
    say(indent("\n".join(wrap(text, WIDTH)), " " * 6))


@contextmanager
def step(text: str, since: float | None = None) -> Iterator[Step]:
    """A line that ends with how long its block took.

    :param since: when the step began on ``time.monotonic``, if that was before the block.
    """
    taken = Step(text)
    since = time.monotonic() if since is None else since
    over = Event()
    ticker = Thread(target=_tick, args=(taken, since, over), daemon=True)
    if sys.stdout.isatty():
        ticker.start()
    ending = "  failed"
    try:
        yield taken
        ending = f"{time.monotonic() - since:6.1f} s"
    except KeyboardInterrupt:
        ending = " stopped"
        raise
    finally:
        over.set()
        if ticker.is_alive():
            ticker.join()
            _write("\r\x1b[K")
        say(f"  {taken.text:<{WIDTH}} {ending}")


def short(path: Path) -> str:
    """As people write it: from here, else from home."""
    for start, sign in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_relative_to(start):
            return f"{sign}{path.relative_to(start)}"
    return str(path)


def _tick(taken: Step, since: float, over: Event) -> None:
    while not over.wait(TICK_S):
        line = f"  {taken.text:<{WIDTH}} {time.monotonic() - since:6.0f} s"
        _write(f"\r{line[: get_terminal_size().columns - 1]}\x1b[K")  # a line that wraps cannot be overwritten


def _write(text: str) -> None:
    with suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()
