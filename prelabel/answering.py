"""Tickets to what an LLM says of them: notes → known answer, or prompt → LLM → answer.

``labeling`` calls it where an LLM is to be asked, for whichever model that is, and judges what it says.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from prelabel.asking.ask import Gate, Settled
from prelabel.asking.known import Known
from prelabel.asking.offline import Composed, compose
from prelabel.asking.requests import Assignment, Measured, Told
from prelabel.asking.several import ask_several, sampling
from prelabel.config import Settings
from prelabel.core.kept import Answers, packed
from prelabel.core.parse import Answer
from prelabel.core.types import Example, Failed, Note, Outcome, Ticket, Usage
from prelabel.errors import LLMError, LLMRefusesRequest, SettingsError
from prelabel.guidance.notes import Guidance
from prelabel.llm.loop import LLM
from prelabel.project import Project
from prelabel.quality.grouping import similar_order
from prelabel.store.keys import ProjectRef

LOOK_UP_CHUNK = 256
"""Tickets about which something is looked up between looks at the clock."""
GRACE_S = 2.0
"""How much longer than its deadline asking may take before it is given up on as a whole."""

T = TypeVar("T")
AnswersOf = Callable[[ProjectRef], Answers]


class NoteSource(Protocol):
    """Where what bears on a ticket beside its examples comes from."""

    def notes(self, settings: Settings, tickets: Sequence[Ticket]) -> list[list[Note]]:
        """For each ticket its notes, the most fitting first.

        :raises SettingsError: a file that ``settings`` names cannot be used.
        """


@dataclass(frozen=True, slots=True)
class Prepared:
    """Tickets that are to be asked about offline, by their places."""

    known: Mapping[int, Answer]
    """What is known from earlier of those that need not be asked about."""
    requests: Iterator[Composed]
    """About all others, made one by one."""
    names: Mapping[int, str]
    """By which their answers are to be kept; of none where none are."""


@dataclass(frozen=True, slots=True)
class Call:
    """How tickets are to be answered, as one caller wants it."""

    project: Project
    settings: Settings
    """The project's, perhaps with another model."""
    work: Assignment
    ends: float
    """Of the monotonic clock."""
    usage: Usage
    tell: Settled | None = None
    """Is told answers by the tickets' places as they come: what an LLM answers at once, on its event loop."""
    gate: Gate | None = None
    is_awaited: bool = False
    """Whether somebody looks at the screen until it is there."""


class Answering:
    """One a process, shared by its threads.

    :param notes: a process's own :class:`Guidance` where it is not named.
    :param answers_of: a project's answers that are kept; by default none are.
    """

    def __init__(self, llm: LLM, *, notes: NoteSource | None = None, answers_of: AnswersOf | None = None) -> None:
        self._llm = llm
        self._guidance = notes or Guidance()
        self._answers_of = answers_of
        self._measured: dict[tuple[str, str], Measured] = defaultdict(Measured)

    def answer(self, call: Call, tickets: Sequence[Ticket], examples: Sequence[Sequence[Example]]) -> list[Outcome]:
        """What is known already, and of the rest what the LLM says.

        :param examples: for each ticket, the most fitting first.
        """
        try:
            told = self._told(call.settings, tickets, examples, call.ends)
        except SettingsError as error:
            return [Failed(str(error), fatal=True) for _ in tickets]
        known = self._known(call.project, call.settings, call.work)
        outcomes: list[Outcome | None] = [*known.recall(told)] if known else [None] * len(told)
        call.usage.from_cache += len(told) - outcomes.count(None)
        places = [place for place, outcome in enumerate(outcomes) if outcome is None]
        unknown = [told[place] for place in places]
        if call.tell and len(places) < len(told):
            call.tell({place: outcome for place, outcome in enumerate(outcomes) if outcome is not None})
        heard = moved(places, call.tell) if call.tell else None
        stand_ins: set[int] = set()
        asked = self._ask(call, unknown, stand_ins, heard)
        if known:
            pairs = enumerate(zip(unknown, asked, strict=True))
            known.keep(pair for place, pair in pairs if place not in stand_ins)
        rest = iter(asked)
        return [next(rest) if outcome is None else outcome for outcome in outcomes]

    def prepare(
        self,
        project: Project,
        tickets: Mapping[int, Ticket],
        examples: Mapping[int, Sequence[Example]],
        *,
        within_s: float,
    ) -> Prepared:
        """What :meth:`answer` would ask about ``tickets``, for somebody who asks it in batches.

        :param tickets: by place, like the examples of each.
        :param within_s: notes are looked up for at most a quarter of it.
        :raises SettingsError: a file that the settings name cannot be used.
        """
        work = assignment(project, project.prompt, with_comment=project.has_rationale)
        shown = [examples[place] for place in tickets]
        told = self._told(project.settings, list(tickets.values()), shown, time.monotonic() + within_s)
        once = project.settings.model_copy(update={"num_responses": 1})  # as batches are asked
        known = self._known(project, once, work)
        answers = known.recall(told) if known else [None] * len(told)
        found = {place: answer for place, answer in zip(tickets, answers, strict=True) if answer is not None}
        asked = {place: each for place, each in zip(tickets, told, strict=True) if place not in found}
        names = known.names(list(asked.values())) if known else []
        requests = self._compose(project.settings, work, asked)
        return Prepared(found, requests, dict(zip(asked, names, strict=False)))

    def keep(self, project: Project, answers: Mapping[str, Answer]) -> None:
        """Keep what batches have answered, by the names that it was prepared under."""
        if self._answers_of:
            fresh = {name: packed(answer, project.config.questions) for name, answer in answers.items()}
            self._answers_of(project.ref).keep_named({name: text for name, text in fresh.items() if name and text})

    def _compose(self, settings: Settings, work: Assignment, asked: Mapping[int, Told]) -> Iterator[Composed]:
        """The requests about tickets, each by its place."""
        places, told = list(asked), list(asked.values())
        measured = self._measured[settings.llm_url, settings.openai_model]
        for each in compose(work, told, order=_arranged(told, work.tasks_per_request), measured=measured):
            yield Composed(tuple(tuple(places[one] for one in ticket) for ticket in each.places), each.request)

    def _ask(self, call: Call, told: Sequence[Told], stand_ins: set[int], on_settled: Settled | None) -> list[Outcome]:
        """What the LLM says."""
        if not told:
            return []
        settings = sampling(call.settings)
        asking = partial(
            ask_several,
            responses=settings.num_responses,
            assignment=call.work,
            told=told,
            order=_arranged(told, call.work.tasks_per_request),
            deadline_s=call.ends - time.monotonic(),
            usage=call.usage,
            measured=self._measured[settings.llm_url, settings.openai_model],
            stand_ins=stand_ins,
            on_settled=on_settled,
            gate=call.gate,
            at_once=settings.llm_concurrency if call.gate else None,
        )
        left_s = max(0.0, call.ends - time.monotonic())
        try:
            return self._llm.run(settings, asking, left_s + GRACE_S, is_awaited=call.is_awaited)
        except LLMError as error:
            return [Failed(str(error), fatal=isinstance(error, LLMRefusesRequest)) for _ in told]
        except TimeoutError:
            return [Failed("the LLM was not asked in time", is_late=True) for _ in told]

    def _known(self, project: Project, settings: Settings, work: Assignment) -> Known | None:
        """What is kept of earlier answers; None if nothing is to be: comments are not."""
        if self._answers_of is None or work.with_comment:
            return None
        asked = [
            *(settings.openai_provider, settings.llm_url, settings.openai_model, settings.openai_fallback_models),
            *(settings.azure_deployment_name, settings.azure_api_version, settings.temperature),
            settings.num_responses,
            project.state.generation,
        ]
        return Known(self._answers_of(project.ref), work, asked)

    def _told(
        self, settings: Settings, tickets: Sequence[Ticket], examples: Sequence[Sequence[Example]], ends: float
    ) -> list[Told]:
        """Each ticket with its examples and notes; no notes for tickets that come when time is short.

        :raises SettingsError: a file that the settings name cannot be used.
        """
        none: list[Note] = []
        notes = in_chunks(tickets, ends, lambda chunk: self._guidance.notes(settings, chunk), otherwise=none)
        return [Told(*each) for each in zip(tickets, examples, notes, strict=True)]


def assignment(project: Project, prompt: str, *, with_comment: bool) -> Assignment:
    """What an LLM is asked of each ticket of a project."""
    settings = project.settings
    return Assignment(
        questions=project.config.questions,
        prompt=prompt,
        template=settings.prompt_template if settings.use_internal_prompt_template else prompt,
        with_comment=with_comment,
        tasks_per_request=settings.llm_tasks_per_request,
        max_input_tokens=settings.llm_max_input_tokens,
    )


def in_chunks(
    tickets: Sequence[Ticket], ends: float, look_up: Callable[[Sequence[Ticket]], Sequence[T]], *, otherwise: T
) -> list[T]:
    """What is looked up for each ticket, for at most a quarter of the time that is left; ``otherwise`` for those after.

    :param ends: of the monotonic clock.
    """
    now = time.monotonic()
    before = now + (ends - now) / 4
    found: list[T] = []
    for start in range(0, len(tickets), LOOK_UP_CHUNK):
        chunk = tickets[start : start + LOOK_UP_CHUNK]
        is_late = start > 0 and time.monotonic() > before
        found += [otherwise for _ in chunk] if is_late else look_up(chunk)
    return found


def moved(places: Sequence[int], on_settled: Settled) -> Settled:
    """``on_settled``, told what happened at the first place as of ``places[0]`` and so on."""
    return lambda settled: on_settled({places[place]: outcome for place, outcome in settled.items()})


def _arranged(told: Sequence[Told], together: int) -> list[int] | None:
    """The order in which similar tickets share a request, and so what is told beside them; None if that is nothing."""
    has_any = any(each.examples or each.notes for each in told)
    return similar_order([each.ticket.text for each in told], together) if has_any else None
