"""The heart: tasks to outcomes, the same way whoever asks (``/predict``, a typed prompt, a bulk run, a file).

task → ticket → notes and examples → known answer, or prompt → LLM → answer → outcome
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from prelabel.asking.ask import Gate, Settled, ask
from prelabel.asking.known import Known
from prelabel.asking.offline import Composed, compose
from prelabel.asking.requests import Assignment, Measured, Told
from prelabel.config import Settings
from prelabel.core.kept import Answers, packed
from prelabel.core.parse import Answer
from prelabel.core.types import Abstained, Choices, Example, Failed, Labeled, Note, Outcome, Ticket, Usage, Withheld
from prelabel.errors import LLMError, LLMRefusesRequest, SettingsError
from prelabel.guidance.notes import Guidance
from prelabel.llm.loop import LLM
from prelabel.project import Project
from prelabel.quality.grouping import similar_order
from prelabel.quality.weak_model import ABOUT, EmbeddedModel
from prelabel.store.keys import ProjectRef
from prelabel.studio.label_config import LabelConfig
from prelabel.studio.tickets import read_ticket

LOOK_UP_CHUNK = 256
"""Tickets whose notes and examples are looked up between looks at the clock."""
GRACE_S = 2.0
"""How much longer than its deadline asking may take before it is given up on as a whole."""

log = logging.getLogger(__name__)

T = TypeVar("T")
AnswersOf = Callable[[ProjectRef], Answers]


class ExampleSource(Protocol):
    """Where reviewed tickets come from."""

    def nearest(
        self, ref: ProjectRef, questions: Sequence[Choices], tickets: Sequence[Ticket], count: int
    ) -> list[list[Example]]:
        """For each ticket at most ``count`` examples, the nearest first; never the ticket's own task."""

    def embedded(self, ref: ProjectRef, questions: Sequence[Choices]) -> EmbeddedModel:
        """The embedded model, fitted to all reviewed tickets."""


class NoteSource(Protocol):
    """Where what bears on a ticket beside its examples comes from."""

    def notes(self, settings: Settings, tickets: Sequence[Ticket]) -> list[list[Note]]:
        """For each ticket its notes, the most fitting first.

        :raises SettingsError: a file that ``settings`` names cannot be used.
        """


@dataclass(frozen=True, slots=True)
class Prepared:
    """Tasks that are to be asked about offline, by their places."""

    settled: Mapping[int, Outcome]
    """Of those that need not be asked about."""
    requests: Iterator[Composed]
    """About all others, made one by one."""
    names: Mapping[int, str]
    """By which their answers are to be kept; of none where none are."""
    from_cache: int
    """How many of ``settled`` are known from earlier."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Tasks to be labelled by an LLM, as one caller wants it."""

    project: Project
    work: Assignment
    ends: float
    """Of the monotonic clock."""
    usage: Usage
    tell: Settled | None
    gate: Gate | None
    is_awaited: bool
    """Whether somebody looks at the screen until it is there."""


class Labeler:
    """Labels tasks with an LLM, by a project's examples; one a process, shared by its threads.

    :param notes: a process's own :class:`Guidance` where it is not named.
    :param answers_of: a project's answers that are kept; by default none are.
    """

    def __init__(
        self,
        examples: ExampleSource,
        llm: LLM,
        *,
        notes: NoteSource | None = None,
        answers_of: AnswersOf | None = None,
    ) -> None:
        self._examples = examples
        self._llm = llm
        self._guidance = notes or Guidance()
        self._answers_of = answers_of
        self._told_of: set[ProjectRef] = set()
        self._measured: dict[tuple[str, str], Measured] = defaultdict(Measured)

    def label_tasks(
        self,
        project: Project,
        tasks: Sequence[Any],
        *,
        deadline_s: float,
        withheld: Collection[int] = (),
        prompt: str | None = None,
        with_comment: bool = False,
        usage: Usage | None = None,
        on_settled: Settled | None = None,
        gate: Gate | None = None,
    ) -> list[Outcome]:
        """An outcome per task, in order, after at most about ``deadline_s`` seconds.

        :param withheld: tasks that are not to be asked about.
        :param prompt: to be used in place of the project's.
        :param with_comment: ask the LLM for a sentence on each answer, also where the project asks for no rationale.
        :param usage: what it costs is added to it.
        :param on_settled: is told outcomes by the tasks' places, as they come: what an LLM answers at once, on its
            event loop.
        :param gate: is asked before each request to an LLM; what it does not admit fails.
        """
        ends = time.monotonic() + deadline_s
        outcomes = [_read(task, project.config, withheld) for task in tasks]
        tickets = [outcome for outcome in outcomes if isinstance(outcome, Ticket)]
        tell = _placed(outcomes, on_settled) if on_settled else None
        if project.settings.openai_provider == "local":
            guesses = self._guess(project, tickets)
            if tell and guesses:
                tell(dict(enumerate(guesses)))
            answers = iter(guesses)
        else:
            text = project.prompt if prompt is None else prompt
            work = _assignment(project, text, with_comment=with_comment or project.has_rationale)
            is_awaited = len(tasks) == 1 and gate is None
            call = _Call(project, work, ends, usage or Usage(), tell, gate, is_awaited)
            answers = iter(self._answer(call, tickets))
        return [next(answers) if isinstance(outcome, Ticket) else outcome for outcome in outcomes]

    def prepare(
        self, project: Project, tasks: Sequence[Any], *, withheld: Collection[int] = (), within_s: float
    ) -> Prepared:
        """What :meth:`label_tasks` would ask an LLM about ``tasks``, for somebody who asks it in batches.

        :param within_s: notes and examples are looked up for at most a quarter of it.
        :raises SettingsError: a file that the settings name cannot be used.
        """
        outcomes = {place: _read(task, project.config, withheld) for place, task in enumerate(tasks)}
        tickets = {place: ticket for place, ticket in outcomes.items() if isinstance(ticket, Ticket)}
        settled: dict[int, Outcome] = {
            place: outcome for place, outcome in outcomes.items() if not isinstance(outcome, Ticket)
        }
        work = _assignment(project, project.prompt, with_comment=project.has_rationale)
        told = self._told(project, list(tickets.values()), time.monotonic() + within_s)
        known = self._known(project, work)
        answers = known.recall(told) if known else [None] * len(told)
        found = {place: answer for place, answer in zip(tickets, answers, strict=True) if answer is not None}
        asked = {place: each for place, each in zip(tickets, told, strict=True) if place not in found}
        names = known.names(list(asked.values())) if known else []
        requests = self._compose(project.settings, work, asked)
        return Prepared({**settled, **found}, requests, dict(zip(asked, names, strict=False)), len(found))

    def keep_answers(self, project: Project, answers: Mapping[str, Answer]) -> None:
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

    def _answer(self, call: _Call, tickets: Sequence[Ticket]) -> list[Outcome]:
        """What is known already, and of the rest what the LLM says."""
        try:
            told = self._told(call.project, tickets, call.ends)
        except SettingsError as error:
            return [Failed(str(error), fatal=True) for _ in tickets]
        known = self._known(call.project, call.work)
        outcomes: list[Outcome | None] = [*known.recall(told)] if known else [None] * len(told)
        call.usage.from_cache += len(told) - outcomes.count(None)
        places = [place for place, outcome in enumerate(outcomes) if outcome is None]
        unknown = [told[place] for place in places]
        if call.tell and len(places) < len(told):
            call.tell({place: outcome for place, outcome in enumerate(outcomes) if outcome is not None})
        heard = _moved(places, call.tell) if call.tell else None
        stand_ins: set[int] = set()
        asked = self._ask(call, unknown, stand_ins, heard)
        if known:
            pairs = enumerate(zip(unknown, asked, strict=True))
            known.keep(pair for place, pair in pairs if place not in stand_ins)
        rest = iter(asked)
        return [next(rest) if outcome is None else outcome for outcome in outcomes]

    def _ask(self, call: _Call, told: Sequence[Told], stand_ins: set[int], on_settled: Settled | None) -> list[Outcome]:
        """What the LLM says."""
        if not told:
            return []
        settings = call.project.settings
        asking = partial(
            ask,
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

    def _known(self, project: Project, work: Assignment) -> Known | None:
        """What is kept of earlier answers; None if nothing is to be: comments are not."""
        if self._answers_of is None or work.with_comment:
            return None
        settings = project.settings
        asked = [
            *(settings.openai_provider, settings.llm_url, settings.openai_model, settings.openai_fallback_models),
            *(settings.azure_deployment_name, settings.azure_api_version, settings.temperature),
            project.state.generation,
        ]
        return Known(self._answers_of(project.ref), work, asked)

    def _guess(self, project: Project, tickets: Sequence[Ticket]) -> list[Outcome]:
        """What the embedded model says, which is no LLM and follows no prompt."""
        if not tickets:
            return []
        if project.ref not in self._told_of:
            self._told_of.add(project.ref)
            log.warning("project %s: %s", project.ref.id, ABOUT)
        model = self._examples.embedded(project.ref, project.config.questions)
        answers = model.label([ticket.text for ticket in tickets])
        return [replace(answer, comment=ABOUT) if isinstance(answer, Labeled) else answer for answer in answers]

    def _told(self, project: Project, tickets: Sequence[Ticket], ends: float) -> list[Told]:
        """Each ticket with its examples and notes; none of them for tickets that come when time is short.

        :raises SettingsError: a file that the settings name cannot be used.
        """
        settings, questions = project.settings, project.config.questions
        notes = _in_chunks(tickets, ends, lambda chunk: self._guidance.notes(settings, chunk))
        count = settings.few_shot_examples
        examples = _in_chunks(tickets, ends, lambda chunk: self._examples.nearest(project.ref, questions, chunk, count))
        return [Told(*each) for each in zip(tickets, examples, notes, strict=True)]


def _assignment(project: Project, prompt: str, *, with_comment: bool) -> Assignment:
    settings = project.settings
    return Assignment(
        questions=project.config.questions,
        prompt=prompt,
        template=settings.prompt_template if settings.use_internal_prompt_template else prompt,
        with_comment=with_comment,
        tasks_per_request=settings.llm_tasks_per_request,
        max_input_tokens=settings.llm_max_input_tokens,
    )


def _in_chunks(
    tickets: Sequence[Ticket], ends: float, look_up: Callable[[Sequence[Ticket]], list[list[T]]]
) -> list[list[T]]:
    """What is looked up for each ticket, for at most a quarter of the time that is left; nothing for those after."""
    now = time.monotonic()
    before = now + (ends - now) / 4
    found: list[list[T]] = []
    for start in range(0, len(tickets), LOOK_UP_CHUNK):
        chunk = tickets[start : start + LOOK_UP_CHUNK]
        is_late = start > 0 and time.monotonic() > before
        found += [[] for _ in chunk] if is_late else look_up(chunk)
    return found


def _placed(outcomes: Sequence[object], on_settled: Settled) -> Settled:
    """``on_settled``, told of tickets by their places among all tasks; it is told at once of what is no ticket."""
    places = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Ticket)]
    if settled := {place: outcome for place, outcome in enumerate(outcomes) if isinstance(outcome, Outcome)}:
        on_settled(settled)
    return _moved(places, on_settled)


def _moved(places: Sequence[int], on_settled: Settled) -> Settled:
    """``on_settled``, told what happened at the first place as of ``places[0]`` and so on."""
    return lambda settled: on_settled({places[place]: outcome for place, outcome in settled.items()})


def _arranged(told: Sequence[Told], together: int) -> list[int] | None:
    """The order in which similar tickets share a request, and so what is told beside them; None if that is nothing."""
    has_any = any(each.examples or each.notes for each in told)
    return similar_order([each.ticket.text for each in told], together) if has_any else None


def _read(task: Any, config: LabelConfig, withheld: Collection[int]) -> Ticket | Abstained | Failed | Withheld:
    if not isinstance(task, Mapping):
        return Failed("the task is no object")
    ticket = read_ticket(task, config)
    return Withheld() if isinstance(ticket, Ticket) and ticket.task_id in withheld else ticket
