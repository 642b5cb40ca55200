"""Tickets to outcomes by several answers to each: the labels given most often, and how often they were given.

Each of the answers is asked for as if it were the only one, by a request of its own; ``core.majority`` makes one of
them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from prelabel.asking.ask import Chat, Gate, Settled, ask
from prelabel.asking.requests import Assignment, Measured, Told
from prelabel.config import Settings
from prelabel.core.majority import majority
from prelabel.core.types import Abstained, Failed, Labeled, Outcome, Usage

SAMPLED_AT = 0.7
"""The temperature of several answers: at 0 they would be all the same."""


def sampling(settings: Settings) -> Settings:
    """``settings`` as an LLM is to be asked by: hotter where it is asked several times."""
    return settings.model_copy(update={"temperature": SAMPLED_AT}) if settings.num_responses > 1 else settings


async def ask_several(
    chat: Chat,
    assignment: Assignment,
    told: Sequence[Told],
    deadline_s: float,
    usage: Usage | None = None,
    *,
    responses: int,
    order: Sequence[int] | None = None,
    measured: Measured | None = None,
    on_settled: Settled | None = None,
    gate: Gate | None = None,
    at_once: int | None = None,
    stand_ins: set[int] | None = None,
) -> list[Outcome]:
    """As :func:`prelabel.asking.ask.ask`, by so many answers to each ticket; by one it is the same.

    A ticket is settled when all of its answers are in or have failed. At the deadline, and where requests fail or are
    not admitted, those count that came, even a lone one: it is as good as one that was asked for alone, only that no
    agreement speaks for it. Without any the ticket fails, for the first reason that is not the deadline.

    :param responses: how many answers to each ticket.
    :param on_settled: is told each ticket's outcome when it is settled; of one that was not asked about often enough,
        when all asking is over.
    :param at_once: requests that may be under way; at least one for each of the answers.
    :param stand_ins: places of tickets that another than the main model has answered at least once, or whose answers
        did not all come, are added to it: theirs is not what the main model would say.
    """
    asking = partial(
        ask,
        *(chat, assignment, told, deadline_s, usage),
        order=order,
        measured=measured or Measured(),
        gate=gate,
        stand_ins=stand_ins,
    )
    if responses == 1:
        return await asking(on_settled=on_settled, at_once=at_once)
    poll = _Poll(responses, on_settled, set() if stand_ins is None else stand_ins)
    share = at_once and max(1, at_once // responses)
    try:
        async with asyncio.TaskGroup() as running:
            tasks = [
                running.create_task(asking(on_settled=partial(poll.hear, number), at_once=share))
                for number in range(responses)
            ]
    except ExceptionGroup as bugs:
        raise bugs.exceptions[0] from None
    poll.close([task.result() for task in tasks])
    return [poll.outcomes[place] for place in range(len(told))]


class _Poll:
    """What has been answered so far."""

    def __init__(self, responses: int, on_settled: Settled | None, partly: set[int]) -> None:
        self.outcomes: dict[int, Outcome] = {}
        """Of the tickets that are settled, by their places."""
        self._responses = responses
        self._on_settled = on_settled
        self._partly = partly
        self._said: dict[int, dict[int, Outcome]] = defaultdict(dict)

    def hear(self, number: int, settled: Mapping[int, Outcome]) -> None:
        """What one of the answers to each of some tickets is; ``number``: which of them."""
        if not settled and self._on_settled:
            self._on_settled({})
        for place, outcome in settled.items():
            self._said[place][number] = outcome
        whole = (place for place in settled if len(self._said[place]) == self._responses)
        self._settle({place: [said for _, said in sorted(self._said.pop(place).items())] for place in whole})

    def close(self, answers: Sequence[Sequence[Outcome]]) -> None:
        """All asking is over; ``answers``: for each number an outcome per ticket."""
        tickets = enumerate(zip(*answers, strict=True))
        self._settle({place: said for place, said in tickets if place not in self.outcomes})

    def _settle(self, said: Mapping[int, Sequence[Outcome]]) -> None:
        """:param said: all that came of some tickets, by place."""
        self._partly.update(place for place, each in said.items() if any(isinstance(one, Failed) for one in each))
        settled = {place: _settled(each) for place, each in said.items()}
        self.outcomes |= settled
        told = {place: out for place, out in settled.items() if not (isinstance(out, Failed) and out.is_late)}
        if self._on_settled and told:
            self._on_settled(told)


def _settled(outcomes: Sequence[Outcome]) -> Outcome:
    """One ticket's outcome; :param outcomes: of all that was asked about it."""
    answers = [outcome for outcome in outcomes if isinstance(outcome, Labeled | Abstained)]
    if answers:
        return majority(answers, len(outcomes))
    return next((each for each in outcomes if isinstance(each, Failed) and not each.is_late), outcomes[0])
