"""The heart: tasks to outcomes, the same way whoever asks (``/predict``, a typed prompt, a bulk run, a file).

task → ticket → what reviews, rules and the weak model say → decided, or asked of the LLM and decided then → outcome
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prelabel.answering import Answering, AnswersOf, Call, NoteSource, assignment, moved
from prelabel.asking.ask import Gate, Settled
from prelabel.asking.offline import Composed
from prelabel.config import Method, Settings
from prelabel.core.parse import Answer
from prelabel.core.types import Abstained, Failed, Labeled, Outcome, Ticket, Usage, Withheld
from prelabel.errors import SettingsError
from prelabel.hearing import Hearing, Hearings
from prelabel.judging import Asked, Judge
from prelabel.llm.loop import LLM
from prelabel.project import Project
from prelabel.quality.scoring import Scoring
from prelabel.quality.weak_model import ABOUT
from prelabel.store.keys import ProjectRef
from prelabel.studio.label_config import LabelConfig
from prelabel.studio.tickets import read_ticket

log = logging.getLogger(__name__)

GateOf = Callable[[Settings], Gate]
"""Who says whether a request may be sent to the model that the settings name."""
FOR_EVER_S = 3600.0
"""Where nobody waits."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Tasks that are to be asked about offline, by their places."""

    settled: Mapping[int, Outcome]
    """Of those that need not be asked about."""
    requests: Iterator[Composed]
    """About all others, made one by one."""
    names: Mapping[int, str]
    """By which their answers are to be kept; of none where none are."""
    usage: Usage
    """Who settled what need not be asked about."""


@dataclass(frozen=True, slots=True)
class _Ask:
    """Tickets that an LLM is to be asked about, as one caller wants it."""

    project: Project
    prompt: str
    with_comment: bool
    ends: float
    """Of the monotonic clock."""
    usage: Usage
    tell: Settled | None
    gate: GateOf | None
    is_awaited: bool
    tickets: Sequence[Ticket] = field(default_factory=list)


class Labeler:
    """Labels tasks by a project's method; one a process, shared by its threads.

    :param answers_of: a project's answers that are kept; by default none are.
    """

    def __init__(
        self,
        hearings: Hearings,
        llm: LLM,
        *,
        notes: NoteSource | None = None,
        answers_of: AnswersOf | None = None,
    ) -> None:
        self._hearings = hearings
        self._answering = Answering(llm, notes=notes, answers_of=answers_of)
        self._told_of: set[ProjectRef] = set()

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
        gate: GateOf | None = None,
    ) -> list[Outcome]:
        """An outcome per task, in order, after at most about ``deadline_s`` seconds.

        :param withheld: tasks that are not to be asked about.
        :param prompt: to be used in place of the project's; whoever types one wants the LLM's own word.
        :param with_comment: ask the LLM for a sentence on each answer, also where the project asks for no rationale.
        :param usage: what it costs is added to it, and who settled how many.
        :param on_settled: is told outcomes by the tasks' places, as they come: what an LLM answers at once, on its
            event loop.
        :param gate: is asked before each request to an LLM; what it does not admit fails.
        """
        ends, usage = time.monotonic() + deadline_s, usage or Usage()
        outcomes = [_read(task, project.config, withheld) for task in tasks]
        tickets = [outcome for outcome in outcomes if isinstance(outcome, Ticket)]
        tell = _placed(outcomes, on_settled) if on_settled else None
        try:
            hearing = self._hearings.of(
                project,
                tickets,
                ends,
                patiently=gate is not None,
                is_last=_ends_with_weak_model(project.settings, is_typed=prompt is not None),
            )
        except SettingsError as error:
            return [Failed(str(error), fatal=True) if isinstance(each, Ticket) else each for each in outcomes]
        judge = self._judge(project, hearing, usage, is_typed=prompt is not None, is_patient=gate is not None)
        settled = judge.begin()
        if tell and settled:
            tell(settled)
        wants = _Ask(
            project,
            project.prompt if prompt is None else prompt,
            with_comment or project.has_rationale,
            ends,
            usage,
            tell,
            gate,
            len(tasks) == 1 and gate is None,
            tickets,
        )
        self._ask(wants, judge, hearing)
        answers = (judge.outcomes[place] for place in range(len(tickets)))
        told = self._tells_about(project)
        return [told(next(answers)) if isinstance(outcome, Ticket) else outcome for outcome in outcomes]

    def consult(
        self,
        project: Project,
        tasks: Sequence[Any],
        asked: Asked,
        *,
        deadline_s: float,
        usage: Usage,
        gate: GateOf,
        on_settled: Settled,
    ) -> list[Outcome]:
        """What an LLM says of each task, as it says it, when it is not shown near copies of the ticket: to see how good
        it is.

        :param on_settled: as for :meth:`label_tasks`.
        :raises SettingsError: a file that the settings name cannot be used.
        """
        ends = time.monotonic() + deadline_s
        outcomes = [_read(task, project.config, ()) for task in tasks]
        tickets = [outcome for outcome in outcomes if isinstance(outcome, Ticket)]
        around = self._hearings.around(project, tickets, ends, is_evaluation=True)
        tell = _placed(outcomes, on_settled)
        call = _Ask(project, project.prompt, project.has_rationale, ends, usage, tell, gate, False)
        answers = iter(self._answering.answer(_call(call, asked, usage, tell), tickets, [a.examples for a in around]))
        return [next(answers) if isinstance(outcome, Ticket) else outcome for outcome in outcomes]

    def prepare(
        self, project: Project, tasks: Sequence[Any], *, withheld: Collection[int] = (), within_s: float
    ) -> Prepared:
        """What :meth:`label_tasks` would ask an LLM about ``tasks``, for somebody who asks it in batches.

        A stronger model is not asked: who answers in batches has the last word.

        :param within_s: notes and examples are looked up for at most a quarter of it each.
        :raises SettingsError: a file that the settings name cannot be used.
        """
        outcomes = {place: _read(task, project.config, withheld) for place, task in enumerate(tasks)}
        tickets = {place: ticket for place, ticket in outcomes.items() if isinstance(ticket, Ticket)}
        places, usage = list(tickets), Usage()
        settled: dict[int, Outcome] = {
            place: outcome for place, outcome in outcomes.items() if not isinstance(outcome, Ticket)
        }
        hearing = self._hearings.of(project, list(tickets.values()), time.monotonic() + within_s, patiently=True)
        judge = self._judge(project, hearing, usage, escalates=False)
        judge.begin()
        wanted = judge.waiting("llm")
        prepared = self._answering.prepare(
            project,
            {places[place]: tickets[places[place]] for place in wanted},
            {places[place]: hearing.around[place].examples for place in wanted},
            within_s=within_s,
        )
        judge.hear("llm", {place: prepared.known[places[place]] for place in wanted if places[place] in prepared.known})
        usage.from_cache += len(prepared.known)
        settled |= {places[place]: outcome for place, outcome in judge.outcomes.items()}
        return Prepared(settled, prepared.requests, prepared.names, usage)

    def judge(
        self, project: Project, tasks: Mapping[int, Any], answers: Mapping[int, Answer], usage: Usage
    ) -> dict[int, Outcome]:
        """What comes of answers that an LLM gave in batches, by whatever names them.

        :param tasks: those of ``answers`` that there still are; the others' answers stand as they are.
        :param usage: who settled how many is added to it.
        :raises SettingsError: a file that the settings name cannot be used.
        """
        read = {name: _read(tasks[name], project.config, ()) for name in answers if name in tasks}
        tickets = {name: ticket for name, ticket in read.items() if isinstance(ticket, Ticket)}
        names = list(tickets)
        hearing = self._hearings.of(project, list(tickets.values()), time.monotonic() + FOR_EVER_S, patiently=True)
        judge = self._judge(project, hearing, usage, escalates=False)
        judge.begin()
        judge.hear("llm", {place: answers[name] for place, name in enumerate(names)})
        return {**answers, **{names[place]: outcome for place, outcome in judge.outcomes.items()}}

    def keep_answers(self, project: Project, answers: Mapping[str, Answer]) -> None:
        """Keep what batches have answered, by the names that it was prepared under."""
        self._answering.keep(project, answers)

    def _ask(self, wants: _Ask, judge: Judge, hearing: Hearing) -> None:
        """Ask whoever has to be until all is settled."""
        self._ask_one(wants, judge, hearing, "llm")
        self._ask_one(wants, judge, hearing, "escalation")

    def _ask_one(self, wants: _Ask, judge: Judge, hearing: Hearing, asked: Asked) -> None:
        places = judge.waiting(asked)
        if not places:
            return
        usage = wants.usage if asked == "llm" else Usage()

        def hear(answers: Mapping[int, Outcome]) -> None:
            settled = judge.hear(asked, {places[place]: answer for place, answer in answers.items()})
            if asked == "escalation":
                wants.usage.add_escalation(usage.take())
            if wants.tell:  # also of nothing, for what it has cost
                wants.tell(settled)

        tickets = [wants.tickets[place] for place in places]
        examples = [hearing.around[place].examples for place in places]
        answers = self._answering.answer(_call(wants, asked, usage, hear), tickets, examples)
        failures = [answer for answer in answers if isinstance(answer, Failed) and not (answer.is_late and wants.gate)]
        if asked == "escalation" and failures:
            log.warning(
                "project %s: %s is not heard on %d tickets, so the first answer stands: %s",
                *(wants.project.ref.id, wants.project.settings.escalation_model, len(failures), failures[0].reason),
            )
        hear(dict(enumerate(answers)))

    def _judge(
        self,
        project: Project,
        hearing: Hearing,
        usage: Usage,
        *,
        is_typed: bool = False,
        is_patient: bool = False,
        escalates: bool = True,
    ) -> Judge:
        settings = project.settings
        method, asked = _method(settings, is_typed=is_typed), list[Asked]()
        if not _ends_with_weak_model(settings, is_typed=is_typed) and method != "rules":
            asked = ["llm", "escalation"] if escalates and settings.escalation_model else ["llm"]
        return Judge(
            project.config.questions,
            Scoring() if is_typed else project.scoring,
            method,
            hearing.heard,
            asked=asked,
            lack=hearing.lack if _ends_with_weak_model(settings, is_typed=is_typed) else None,
            is_patient=is_patient,
            usage=usage,
        )

    def _tells_about(self, project: Project) -> Callable[[Outcome], Outcome]:
        """Says of answers that no LLM gave them, where none is configured."""
        if project.settings.openai_provider != "local":
            return lambda outcome: outcome
        if project.ref not in self._told_of:
            self._told_of.add(project.ref)
            log.warning("project %s: %s", project.ref.id, ABOUT)
        return lambda outcome: replace(outcome, comment=ABOUT) if isinstance(outcome, Labeled) else outcome


def _method(settings: Settings, *, is_typed: bool) -> Method:
    """Whoever types a prompt wants the LLM's own word, where there is one."""
    return "llm" if is_typed and settings.openai_provider != "local" else settings.method


def _ends_with_weak_model(settings: Settings, *, is_typed: bool) -> bool:
    """Whether nobody is asked after the weak model."""
    method = _method(settings, is_typed=is_typed)
    return method not in {"llm", "rules"} and not settings.uses_llm


def _call(wants: _Ask, asked: Asked, usage: Usage, tell: Settled | None) -> Call:
    settings = wants.project.settings if asked == "llm" else wants.project.settings.escalated()
    return Call(
        wants.project,
        settings,
        assignment(wants.project, wants.prompt, with_comment=wants.with_comment),
        wants.ends,
        usage,
        tell,
        wants.gate(settings) if wants.gate else None,
        wants.is_awaited,
    )


def _placed(outcomes: Sequence[object], on_settled: Settled) -> Settled:
    """``on_settled``, told of tickets by their places among all tasks; it is told at once of what is no ticket."""
    places = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Ticket)]
    if settled := {place: outcome for place, outcome in enumerate(outcomes) if isinstance(outcome, Outcome)}:
        on_settled(settled)
    return moved(places, on_settled)


def _read(task: Any, config: LabelConfig, withheld: Collection[int]) -> Ticket | Abstained | Failed | Withheld:
    if not isinstance(task, Mapping):
        return Failed("the task is no object")
    ticket = read_ticket(task, config)
    return Withheld() if isinstance(ticket, Ticket) and ticket.task_id in withheld else ticket
