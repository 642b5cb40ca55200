"""The heart: tasks to outcomes, the same way whoever asks (``/predict``, a typed prompt, a bulk run, a file).

task → ticket → notes and examples → known answer, or prompt → LLM → answer → outcome
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from prelabel.asking.ask import ask
from prelabel.asking.known import Known
from prelabel.asking.requests import Assignment, Measured, Told
from prelabel.config import Settings
from prelabel.core.kept import Answers
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
    ) -> list[Outcome]:
        """An outcome per task, in order, after at most about ``deadline_s`` seconds.

        :param withheld: tasks that are not to be asked about.
        :param prompt: to be used in place of the project's.
        :param with_comment: ask the LLM for a sentence on each answer, also where the project asks for no rationale.
        :param usage: what it costs is added to it.
        """
        ends = time.monotonic() + deadline_s
        outcomes = [_read(task, project.config, withheld) for task in tasks]
        tickets = [outcome for outcome in outcomes if isinstance(outcome, Ticket)]
        if project.settings.openai_provider == "local":
            answers = iter(self._guess(project, tickets))
        else:
            text = project.prompt if prompt is None else prompt
            work = _assignment(project, text, with_comment=with_comment or project.has_rationale)
            answers = iter(self._answer(project, work, tickets, ends, usage or Usage()))
        return [next(answers) if isinstance(outcome, Ticket) else outcome for outcome in outcomes]

    def _answer(
        self, project: Project, work: Assignment, tickets: Sequence[Ticket], ends: float, usage: Usage
    ) -> list[Outcome]:
        """What is known already, and of the rest what the LLM says."""
        try:
            told = self._told(project, tickets, ends)
        except SettingsError as error:
            return [Failed(str(error), fatal=True) for _ in tickets]
        known = self._known(project, work)
        outcomes: list[Outcome | None] = [*known.recall(told)] if known else [None] * len(told)
        usage.from_cache += len(told) - outcomes.count(None)
        unknown = [each for each, outcome in zip(told, outcomes, strict=True) if outcome is None]
        stand_ins: set[int] = set()
        asked = self._ask(project.settings, work, unknown, ends, usage, stand_ins)
        if known:
            pairs = enumerate(zip(unknown, asked, strict=True))
            known.keep(pair for place, pair in pairs if place not in stand_ins)
        rest = iter(asked)
        return [next(rest) if outcome is None else outcome for outcome in outcomes]

    def _ask(
        self,
        settings: Settings,
        work: Assignment,
        told: Sequence[Told],
        ends: float,
        usage: Usage,
        stand_ins: set[int],
    ) -> list[Outcome]:
        """What the LLM says."""
        if not told:
            return []
        asking = partial(
            ask,
            assignment=work,
            told=told,
            order=_arranged(told, work.tasks_per_request),
            deadline_s=ends - time.monotonic(),
            usage=usage,
            measured=self._measured[settings.llm_url, settings.openai_model],
            stand_ins=stand_ins,
        )
        left_s = max(0.0, ends - time.monotonic())
        try:
            return self._llm.run(settings, asking, left_s + GRACE_S, is_awaited=len(told) == 1)
        except LLMError as error:
            return [Failed(str(error), fatal=isinstance(error, LLMRefusesRequest)) for _ in told]
        except TimeoutError:
            return [Failed("the LLM was not asked in time") for _ in told]

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


def _arranged(told: Sequence[Told], together: int) -> list[int] | None:
    """The order in which similar tickets share a request, and so what is told beside them; None if that is nothing."""
    has_any = any(each.examples or each.notes for each in told)
    return similar_order([each.ticket.text for each in told], together) if has_any else None


def _read(task: Any, config: LabelConfig, withheld: Collection[int]) -> Ticket | Abstained | Failed | Withheld:
    if not isinstance(task, Mapping):
        return Failed("the task is no object")
    ticket = read_ticket(task, config)
    return Withheld() if isinstance(ticket, Ticket) and ticket.task_id in withheld else ticket
