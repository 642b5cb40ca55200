"""Tickets to outcomes by way of an LLM: several tickets a request, all requests at once, within a deadline.

What a reply leaves unanswered goes again in halves, down to single tickets, so that one bad ticket never costs its
neighbours anything; only a ticket that is alone in its request abstains. What a request says is ``requests``' part.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from prelabel.asking.groups import grouped
from prelabel.asking.requests import Assignment, Composer, Item, Measured, Told
from prelabel.core.parse import parse_reply
from prelabel.core.types import Abstained, Failed, Outcome, Usage
from prelabel.errors import LLMError, LLMRefusesContent, LLMRefusesForm, LLMRefusesRequest, LLMUnavailable
from prelabel.llm.exchange import ChatReply, ChatRequest

log = logging.getLogger(__name__)

UNREAD = "the LLM's reply holds no answer with a label of the config"
UNAFFORDABLE = "there is no money left for it"
MOST_REPLY_ROOM = 32
"""How many times the usual limit a reply may ever have."""
LATER_S = 0.5
"""Before a request is tried again that may be sent later."""


Settled = Callable[[Mapping[int, Outcome]], None]
"""Is told outcomes by their tickets' places, each once, and nothing (``{}``) where what was asked so far is to be paid
before more is; it may block for a moment; what it raises ends the asking."""
Admission = Literal["yes", "later", "no", "stop"]
"""May a request be sent? ``later``: it may in a moment, or so. ``no``: it never may. ``stop``: nothing may any more."""


class Gate(Protocol):
    """Who says whether a request may be sent; called on the event loop, it may block for a moment."""

    def admits(self, request: ChatRequest) -> Admission:
        """Whether it may be. The tickets of one that may not fail: ``stop`` as not reached in time."""

    def ended(self, request: ChatRequest, lost: int) -> None:
        """One that was admitted is over, well or badly; what it cost is told next, if it was answered.

        :param lost: how often it was sent and not answered: the provider may bill each of these tries.
        """


class NotAdmitted(Exception):
    """The request was not sent, and never will be unless ``is_stop``."""

    def __init__(self, *, is_stop: bool) -> None:
        super().__init__()
        self.is_stop = is_stop


class Chat(Protocol):
    """What asking needs of an LLM."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        """:raises LLMError: there is no reply."""


async def ask(
    chat: Chat,
    assignment: Assignment,
    told: Sequence[Told],
    deadline_s: float,
    usage: Usage | None = None,
    *,
    order: Sequence[int] | None = None,
    measured: Measured | None = None,
    on_settled: Settled | None = None,
    gate: Gate | None = None,
    at_once: int | None = None,
    stand_ins: set[int] | None = None,
) -> list[Outcome]:
    """One outcome per ticket, in order, after at most about ``deadline_s`` seconds.

    Tickets that read the same are asked about once.

    :param usage: what it costs is added to it.
    :param order: the tickets' places in the order in which they are put together, for instance the similar side by
        side; else as they come.
    :param measured: what is known of the LLM's tokens; brought up to date.
    :param gate: is asked before each request.
    :param at_once: requests that may be under way, so that few are when it says no; None for all.
    :param on_settled: is told each reply's outcomes as it comes, before the request that takes its slot is sent.
    :param stand_ins: the places of tickets that another than the main model has answered are added to it.
    """
    ends = asyncio.get_running_loop().time() + deadline_s
    # Long tickets take long to cut, and others are waiting for this loop.
    composer, groups = await asyncio.to_thread(_composed, assignment, told, order, measured or Measured())
    asking = _Asking(
        chat,
        composer,
        usage or Usage(),
        set() if stand_ins is None else stand_ins,
        on_settled,
        gate,
        at_once or len(told),
    )
    try:
        async with asyncio.timeout_at(ends), asyncio.TaskGroup() as running:
            for group in groups:
                running.create_task(asking.ask_group(group))
    except TimeoutError:
        log.debug("late: %d tickets", len(told) - len(asking.outcomes))
    except ExceptionGroup as bugs:
        raise bugs.exceptions[0] from None
    not_reached = Failed(f"not reached within {deadline_s:{'.3g' if deadline_s < 100 else '.0f'}} s", is_late=True)
    return [asking.outcomes.get(place, not_reached) for place in range(len(told))]


def _composed(
    assignment: Assignment, told: Sequence[Told], order: Sequence[int] | None, measured: Measured
) -> tuple[Composer, list[list[Item]]]:
    """The tickets in groups, each for one request."""
    tickets = [each.ticket for each in told]
    composer = Composer.of(assignment, tickets, measured)
    return composer, grouped(told, composer, order)


class _Asking:
    """One call of :func:`ask`: what is known so far, by the tickets' places."""

    def __init__(
        self,
        chat: Chat,
        composer: Composer,
        usage: Usage,
        stand_ins: set[int],
        on_settled: Settled | None,
        gate: Gate | None,
        at_once: int,
    ) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self._stand_ins = stand_ins
        self._chat = chat
        self._composer = composer
        self._measured = composer.measured
        self._usage = usage
        self._on_settled = on_settled
        self._gate = gate
        self._turn = asyncio.Semaphore(max(1, at_once))

    async def ask_group(
        self, group: Sequence[Item], *, is_longer: bool = False, is_repair: bool = False, is_bare: bool = False
    ) -> None:
        """Ask until each has its outcome.

        :param is_longer: an earlier reply was cut off: leave twice the room.
        :param is_repair: an earlier reply was of no use.
        :param is_bare: it was too much together with its notes and examples, or these were what was refused.
        """
        try:
            async with self._turn:
                reply = await self._complete(group, is_longer=is_longer, is_repair=is_repair, is_bare=is_bare)
        except (LLMRefusesContent, LLMRefusesForm) as error:
            refusal = Abstained(str(error)) if isinstance(error, LLMRefusesContent) else Failed(str(error))
            if len(group) == 1 and not is_bare and (group[0].examples or group[0].notes):
                await self.ask_group(group, is_longer=is_longer, is_repair=is_repair, is_bare=True)
            else:
                await self._ask_in_halves(group, alone=refusal)
            return
        except NotAdmitted as refusal:
            if not refusal.is_stop:
                self._settle((item, Failed(UNAFFORDABLE)) for item in group)
            return
        except LLMError as error:
            is_fatal, is_passing = isinstance(error, LLMRefusesRequest), isinstance(error, LLMUnavailable)
            self._settle((item, Failed(str(error), fatal=is_fatal, passing=is_passing)) for item in group)
            return
        rest = self._take(reply, group)
        if not rest:
            return
        if reply.is_cut_off and (not is_longer or self._grows(reply)):
            await self.ask_group(rest, is_longer=True, is_repair=is_repair, is_bare=is_bare)
        elif len(group) == 1 and not is_repair and not reply.is_refusal:
            await self.ask_group(rest, is_longer=is_longer, is_repair=True, is_bare=is_bare)
        elif len(group) == 1:
            self._settle((item, Abstained(reply.problem or UNREAD)) for item in rest)
        else:
            await self._ask_in_halves(rest)

    def _grows(self, reply: ChatReply) -> bool:
        """Whether there is more room from now on, since twice the room was spent before the first word was said."""
        if reply.text.strip() or self._measured.reply_room >= MOST_REPLY_ROOM:
            return False
        self._measured.reply_room *= 2
        return True

    async def _ask_in_halves(self, group: Sequence[Item], alone: Outcome | None = None) -> None:
        """Again, in smaller requests.

        :param alone: the outcome of one that is alone already.
        """
        if len(group) == 1 and alone:
            self._settle((item, alone) for item in group)
            return
        middle = -(-len(group) // 2)
        await asyncio.gather(*(self.ask_group(half) for half in (group[:middle], group[middle:]) if half))

    async def _complete(self, group: Sequence[Item], *, is_longer: bool, is_repair: bool, is_bare: bool) -> ChatReply:
        """:raises LLMError: there is no reply.
        :raises NotAdmitted: there was no request.
        """
        room = min(MOST_REPLY_ROOM, self._measured.reply_room * (2 if is_longer else 1))
        request = self._composer.request(group, reply_room=room, is_repair=is_repair, is_bare=is_bare)
        if self._gate:
            await self._be_admitted(request, self._gate)
        lost = 1  # if it is cancelled while it is under way
        try:
            reply = await self._chat.complete(request)
            lost = reply.lost_tries
        except LLMError as error:
            lost = error.lost_tries
            raise
        finally:
            if self._gate:
                self._gate.ended(request, lost)
        self._count(reply)
        self._composer.count_prompt(request, reply.prompt_tokens)
        if is_longer and not reply.is_cut_off and 2 * reply.completion_tokens > (request.max_tokens or 0):
            self._measured.reply_room = max(self._measured.reply_room, room)
        return reply

    async def _be_admitted(self, request: ChatRequest, gate: Gate) -> None:
        """:raises NotAdmitted: the request may not be sent."""
        while (said := gate.admits(request)) == "later":
            if self._on_settled:
                self._on_settled({})
            await asyncio.sleep(LATER_S)
        if said != "yes":
            raise NotAdmitted(is_stop=said == "stop")

    def _take(self, reply: ChatReply, group: Sequence[Item]) -> list[Item]:
        """Settle what is answered; the rest is returned."""
        answers = parse_reply(reply.text, self._composer.assignment.questions, len(group), reply.logprobs)
        if reply.is_stand_in:
            self._stand_ins.update(place for number in answers for place in group[number - 1].places)
        self._settle((group[number - 1], answer) for number, answer in answers.items())
        return [item for number, item in enumerate(group, 1) if number not in answers]

    def _settle(self, pairs: Iterable[tuple[Item, Outcome]]) -> None:
        settled = {place: outcome for item, outcome in pairs for place in item.places}
        self.outcomes |= settled
        if self._on_settled and settled:
            self._on_settled(settled)

    def _count(self, reply: ChatReply) -> None:
        self._usage.add(
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            completion_tokens=reply.completion_tokens,
            cost=reply.cost,
        )
