"""Tickets to requests now, their replies to outcomes later, perhaps in another process: for batches.

What a request says and how a reply is read are the same as in live asking (``requests``, ``core.parse``). Nothing is
tried again here: what a reply leaves unanswered is the rest, for another batch or for live asking, which knows how to
deal with a ticket that no reply answers. Whoever asks keeps, of each request, its places; that is all that reading
its reply takes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from prelabel.asking.groups import grouped
from prelabel.asking.requests import Assignment, Composer, Measured, Told
from prelabel.core.parse import Answer, parse_reply
from prelabel.core.types import Choices, Usage
from prelabel.errors import LLMError
from prelabel.llm.exchange import ChatReply, ChatRequest

Places = tuple[tuple[int, ...], ...]
"""Of a request: for each of its tickets, in the request's order, where it stands among those that were composed; at
several places where they read the same."""

UNANSWERED = "the request was not answered in its batch"
UNREAD = "the LLM's reply leaves tickets out"


@dataclass(frozen=True, slots=True)
class Composed:
    """One request, and whom it is about."""

    places: Places
    request: ChatRequest


@dataclass(slots=True)
class Read:
    """What came of one request: each of its places is in one of the two."""

    answers: dict[int, Answer] = field(default_factory=dict)
    """By place."""
    rest: list[int] = field(default_factory=list)
    """Places that are to be asked about again."""
    problem: str = ""
    """Why there is a rest; empty if there is none."""


def compose(
    assignment: Assignment,
    told: Sequence[Told],
    *,
    order: Sequence[int] | None = None,
    measured: Measured | None = None,
    is_repair: bool = False,
) -> Iterator[Composed]:
    """The requests about ``told``, made one by one; every place is in one of them.

    :param order: places in the order in which tickets are put together, as of :func:`prelabel.asking.ask.ask`.
    :param measured: what is known of the LLM's tokens.
    :param is_repair: an earlier request was answered, but of no use.
    """
    measured = measured or Measured()
    composer = Composer.of(assignment, [each.ticket for each in told], measured)
    for group in grouped(told, composer, order):
        request = composer.request(group, reply_room=measured.reply_room, is_repair=is_repair)
        yield Composed(tuple(item.places for item in group), request)


def read(
    answer: ChatReply | LLMError | None, places: Places, questions: Sequence[Choices], usage: Usage | None = None
) -> Read:
    """What a reply says of the tickets at ``places``.

    :param answer: None where the request was never answered.
    :param usage: what the reply has cost is added to it.
    """
    everywhere = [place for each in places for place in each]
    if not isinstance(answer, ChatReply):
        return Read(rest=everywhere, problem=str(answer or UNANSWERED))
    if usage is not None:
        usage.add(
            prompt_tokens=answer.prompt_tokens,
            cached_tokens=answer.cached_tokens,
            completion_tokens=answer.completion_tokens,
            cost=answer.cost,
        )
    found = parse_reply(answer.text, questions, len(places), answer.logprobs)
    answers = {place: found[number] for number, each in enumerate(places, 1) if number in found for place in each}
    rest = [place for place in everywhere if place not in answers]
    return Read(answers, rest, (answer.problem or UNREAD) if rest else "")
