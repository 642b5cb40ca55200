"""The heart: tasks to outcomes, the same way whoever asks (``/predict``, a typed prompt, a bulk run, a file).

task → ticket → notes and examples → prompt → LLM → answer → outcome
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from prelabel.asking.ask import ask
from prelabel.asking.requests import Assignment, Measured
from prelabel.config import Settings
from prelabel.core.kept import Answers
from prelabel.core.types import Abstained, Choices, Example, Failed, Labeled, Note, Outcome, Ticket, Usage, Withheld
from prelabel.errors import LLMError, LLMRefusesRequest, SettingsError
from prelabel.guidance.notes import Guidance
from prelabel.llm.loop import LLM
from prelabel.quality.grouping import similar_order
from prelabel.quality.weak_model import ABOUT, EmbeddedModel
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import ProjectState
from prelabel.studio.label_config import LabelConfig
from prelabel.studio.tickets import read_ticket
from prelabel.versions import model_version

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
class Project:
    """A project as it stands: its config, its settings over the environment's, its version."""

    state: ProjectState
    config: LabelConfig
    """Without its reasoning field where no rationale is to be shown."""
    settings: Settings
    version: str

    @classmethod
    def of(cls, state: ProjectState, config: LabelConfig, settings: Settings) -> "Project":
        """:param settings: the environment's; the project's own are put over them."""
        own = settings.with_overrides(state.settings)
        if own.rationale == "0" or own.openai_provider == "local":
            config = replace(config, reasoning_field=None)
        return cls(state, config, own, model_version(own, state, config))

    @property
    def ref(self) -> ProjectRef:
        return self.state.ref

    @property
    def has_rationale(self) -> bool:
        """Whether the LLM is asked to say why, before it chooses."""
        return self.settings.rationale == "1" or self.config.reasoning_field is not None

    @property
    def prompt(self) -> str:
        return self.state.prompt.text if self.state.prompt else self.settings.default_prompt_text


class Labeler:
    """Labels tasks with an LLM, by a project's examples; one a process, shared by its threads.

    :param notes: what bears on tickets beside their examples; by default a :class:`Guidance` of its own.
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
        text = project.prompt if prompt is None else prompt
        answers = iter(self._ask(project, tickets, text, with_comment, ends, usage or Usage()))
        return [next(answers) if isinstance(outcome, Ticket) else outcome for outcome in outcomes]

    def _ask(
        self,
        project: Project,
        tickets: Sequence[Ticket],
        prompt: str,
        with_comment: bool,
        ends: float,
        usage: Usage,
    ) -> list[Outcome]:
        if not tickets:
            return []
        settings = project.settings
        if settings.openai_provider == "local":
            return self._guess(project, tickets)
        assignment = Assignment(
            questions=project.config.questions,
            prompt=prompt,
            template=settings.prompt_template if settings.use_internal_prompt_template else prompt,
            with_comment=with_comment or project.has_rationale,
            tasks_per_request=settings.llm_tasks_per_request,
            max_input_tokens=settings.llm_max_input_tokens,
        )
        try:
            notes = self._notes(project, tickets, before=_quarter_of_time(ends))
        except SettingsError as error:
            return [Failed(str(error), fatal=True) for _ in tickets]
        examples = self._nearest(project, tickets, before=_quarter_of_time(ends))
        order = _arranged(tickets, examples, assignment.tasks_per_request)
        left_s = ends - time.monotonic()
        work = partial(
            ask,
            assignment=assignment,
            tickets=tickets,
            examples=examples,
            deadline_s=left_s,
            usage=usage,
            notes=notes,
            order=order,
            measured=self._measured[settings.llm_url, settings.openai_model],
        )
        try:
            return self._llm.run(settings, work, max(0.0, left_s) + GRACE_S, is_awaited=len(tickets) == 1)
        except LLMError as error:
            return [Failed(str(error), fatal=isinstance(error, LLMRefusesRequest)) for _ in tickets]
        except TimeoutError:
            return [Failed("the LLM was not asked in time") for _ in tickets]

    def _answers(self, project: Project, *, with_comment: bool) -> Answers | None:
        """What is kept of the project, None if nothing is to be: comments are not."""
        return self._answers_of(project.ref) if self._answers_of and not with_comment else None

    def _guess(self, project: Project, tickets: Sequence[Ticket]) -> list[Outcome]:
        """What the embedded model says, which is no LLM and follows no prompt."""
        if project.ref not in self._told_of:
            self._told_of.add(project.ref)
            log.warning("project %s: %s", project.ref.id, ABOUT)
        model = self._examples.embedded(project.ref, project.config.questions)
        answers = model.label([ticket.text for ticket in tickets])
        return [replace(answer, comment=ABOUT) if isinstance(answer, Labeled) else answer for answer in answers]

    def _nearest(self, project: Project, tickets: Sequence[Ticket], before: float) -> list[list[Example]]:
        """Each ticket's examples; none for tickets that come after ``before``, so that there is time left to ask."""
        questions, count = project.config.questions, project.settings.few_shot_examples
        return _in_chunks(tickets, before, lambda chunk: self._examples.nearest(project.ref, questions, chunk, count))

    def _notes(self, project: Project, tickets: Sequence[Ticket], before: float) -> list[list[Note]]:
        """Each ticket's notes; likewise."""
        return _in_chunks(tickets, before, lambda chunk: self._guidance.notes(project.settings, chunk))


def _quarter_of_time(ends: float) -> float:
    now = time.monotonic()
    return now + (ends - now) / 4


def _in_chunks(
    tickets: Sequence[Ticket], before: float, look_up: Callable[[Sequence[Ticket]], list[list[T]]]
) -> list[list[T]]:
    """What is looked up for each ticket; nothing for those that come after ``before``, beyond the first few."""
    found: list[list[T]] = []
    for start in range(0, len(tickets), LOOK_UP_CHUNK):
        chunk = tickets[start : start + LOOK_UP_CHUNK]
        late = start > 0 and time.monotonic() > before
        found += [[] for _ in chunk] if late else look_up(chunk)
    return found


def _arranged(tickets: Sequence[Ticket], examples: Sequence[Sequence[Example]], together: int) -> list[int] | None:
    """The order in which similar tickets share a request, and so their examples; None where there are none to share."""
    return similar_order([ticket.text for ticket in tickets], together) if any(examples) else None


def _read(task: Any, config: LabelConfig, withheld: Collection[int]) -> Ticket | Abstained | Failed | Withheld:
    if not isinstance(task, Mapping):
        return Failed("the task is no object")
    ticket = read_ticket(task, config)
    return Withheld() if isinstance(ticket, Ticket) and ticket.task_id in withheld else ticket
