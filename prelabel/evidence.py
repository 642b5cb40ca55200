"""How good labels are, found out from tasks that people label blind.

Such tasks are withheld from prediction. What an LLM says of them is asked in secret and sealed; when people have
labelled them, it is compared, and scores are made by what comes of that. Nothing else counts: whoever sees a suggestion
is swayed by it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from prelabel.config import Settings
from prelabel.core.kept import packed, unpacked
from prelabel.core.parse import Answer
from prelabel.core.types import Abstained, Failed, Labeled, Outcome, Ticket, Usage
from prelabel.errors import StoreUnavailable
from prelabel.guidance.rules import RuleSource
from prelabel.hearing import Hearings
from prelabel.judging import Asked, vote_of
from prelabel.labeling import GateOf, Labeler
from prelabel.project import Project
from prelabel.quality.fitting import EvidenceCase, fit_scoring
from prelabel.quality.fusion import Vote
from prelabel.quality.report import QualityReport, measure_quality
from prelabel.quality.rule_figures import Reviewed, RulesReport, measure_rules
from prelabel.quality.scoring import Scoring
from prelabel.reviews.source import Reviews
from prelabel.store.projects import Projects
from prelabel.store.sealed import Sealed
from prelabel.studio.tickets import read_ticket, task_id
from prelabel.versions import basis

DEADLINE_S = 1800.0
"""For all that is asked at once; only there so that nothing waits for ever."""
ABSTAINED = "null"
"""What is sealed of a task of which an LLM says nothing at all, not even that no label fits."""


class Studio(Protocol):
    """What is needed of Label Studio."""

    def tasks(self, project_id: int, ids: Collection[int]) -> list[dict[str, Any]]: ...


class Evidence:
    """Of all projects."""

    def __init__(
        self,
        projects: Projects,
        reviews: Reviews,
        rules: RuleSource,
        hearings: Hearings,
        labeler: Labeler,
        sealed: Sealed,
    ) -> None:
        self._projects = projects
        self._reviews = reviews
        self._rules = rules
        self._hearings = hearings
        self._labeler = labeler
        self._sealed = sealed

    def count(self, project: Project) -> int:
        """How many tasks people have labelled blind."""
        return len(self._reviews.blind(project.ref, project.config.questions))

    def unheard(self, project: Project) -> set[int]:
        """The tasks labelled blind of which an LLM that the project asks has not been heard in this generation."""
        return self.lacking(project, self._reviews.blind(project.ref, project.config.questions))

    def lacking(self, project: Project, tasks: Collection[int]) -> set[int]:
        """Those of ``tasks`` of which an LLM that the project asks has not been heard."""
        return {task for _, settings in _asked(project) for task in self._unheard(project, settings, tasks)}

    def seal(
        self,
        project: Project,
        tasks: Sequence[Mapping[str, Any]],
        usage: Usage,
        gate: GateOf,
        *,
        on_sealed: Callable[[], None],
    ) -> list[Failed]:
        """Ask every LLM that the project asks about those of ``tasks`` of which it has not been heard.

        :param usage: what it costs is added to it.
        :param on_sealed: is called as answers are kept and their costs counted, on the event loop.
        :returns: what was not answered.
        :raises SettingsError: a file that the settings name cannot be used.
        :raises StoreUnavailable: Redis is away.
        """
        failed: list[Failed] = []
        for asked, settings in _asked(project):
            numbers = [number for task in tasks if (number := task_id(task)) is not None]
            unheard = self._unheard(project, settings, numbers)
            wanted = [task for task in tasks if task_id(task) in unheard]
            if wanted:
                failed += self._ask(project, asked, settings, wanted, usage, gate, on_sealed)
        return failed

    def _ask(
        self,
        project: Project,
        asked: Asked,
        settings: Settings,
        tasks: Sequence[Mapping[str, Any]],
        usage: Usage,
        gate: GateOf,
        on_sealed: Callable[[], None],
    ) -> list[Failed]:
        """Keep what one LLM says of each task, as it says it; returns what is not answered."""
        spent, named = usage if asked == "llm" else Usage(), _basis(project, settings)

        def keep(settled: Mapping[int, Outcome]) -> None:
            said = {tasks[place]["id"]: _packed(outcome, project) for place, outcome in settled.items()}
            self._sealed.keep(project.ref, named, {task: text for task, text in said.items() if text})
            if spent is not usage:
                usage.add_escalation(spent.take())
            on_sealed()

        def keep_if_possible(settled: Mapping[int, Outcome]) -> None:
            with suppress(StoreUnavailable):  # raised, it would break off those in flight
                keep(settled)

        outcomes = self._labeler.consult(
            project, tasks, asked, deadline_s=DEADLINE_S, usage=spent, gate=gate, on_settled=keep_if_possible
        )
        keep(dict(enumerate(outcomes)))
        return [outcome for outcome in outcomes if isinstance(outcome, Failed)]

    def fit(self, project: Project, studio: Studio) -> Scoring:
        """What scores are to be made by, from all tasks that people have labelled blind so far.

        With thousands of reviews it takes many seconds.

        :param studio: is asked for the tasks' fields, where rules go by them.
        :raises StudioError: it does not tell.
        :raises SettingsError: a file that the settings name cannot be used.
        """
        questions = project.config.questions
        cases = self._cases(project, self._tickets(project, studio))
        return fit_scoring(questions, cases, project.settings.method, agreement=self._agreement(project))

    def report(self, project: Project, studio: Studio) -> tuple[QualityReport, RulesReport]:
        """How good each method is, and each rule, by what people have labelled blind so far; as slow as :meth:`fit`.

        :raises StudioError: as there.
        :raises SettingsError: as there.
        """
        questions, tickets = project.config.questions, self._tickets(project, studio)
        quality = measure_quality(questions, self._cases(project, tickets), agreement=self._agreement(project))
        rules = self._rules.rules(project.settings, questions)
        return quality, measure_rules(rules, tickets.values())

    def freeze(self, project: Project, scoring: Scoring, *, anew: bool = True) -> bool:
        """Scores are made by ``scoring`` as long as the project's version stays; False if it has moved meanwhile.

        :param anew: in the place of what they are made by so far; else that stays.
        """
        return self._projects.freeze_scoring(project.state, project.version, scoring.to_json(), anew=anew)

    def _agreement(self, project: Project) -> float | None:
        """Of people who label blind, on the control on which they agree least."""
        found = self._reviews.agreement(project.ref, project.config.questions)
        return min((each.share for each in found.values()), default=None)

    def _cases(self, project: Project, tickets: Mapping[int, Reviewed]) -> list[EvidenceCase]:
        """:param tickets: those labelled blind, by task."""
        hearing = self._hearings.of_evidence(project, [ticket for ticket, _ in tickets.values()])
        weak = self._reviews.cross_fitted(project.ref, project.config.questions, tickets)
        said = {asked: self._said(project, settings, tickets) for asked, settings in _asked(project)}
        return [
            EvidenceCase(
                task,
                {
                    name: replace(
                        each,
                        weak=weak.get(task, {}).get(name),
                        llm=_vote(name, said.get("llm", {}).get(task)),
                        escalation=_vote(name, said.get("escalation", {}).get(task)),
                    )
                    for name, each in heard.items()
                },
                labels,
            )
            for (task, (_, labels)), heard in zip(tickets.items(), hearing.heard, strict=True)
        ]

    def _tickets(self, project: Project, studio: Studio) -> dict[int, Reviewed]:
        """Those labelled blind, with their labels, by task; of one that is gone from Label Studio its text alone."""
        blind = self._reviews.blind(project.ref, project.config.questions)
        tickets = {task: Ticket(task, each.text) for task, each in blind.items()}
        if project.settings.rules_file:
            for task in studio.tasks(project.ref.id, list(blind)):
                if isinstance(ticket := read_ticket(task, project.config), Ticket):
                    tickets[task["id"]] = ticket
        return {task: (ticket, blind[task].labels) for task, ticket in tickets.items()}

    def _unheard(self, project: Project, settings: Settings, tasks: Collection[int]) -> set[int]:
        return set(tasks) - self._sealed.get(project.ref, _basis(project, settings), list(tasks)).keys()

    def _said(self, project: Project, settings: Settings, tasks: Collection[int]) -> dict[int, Answer]:
        kept = self._sealed.get(project.ref, _basis(project, settings), list(tasks))
        read = {task: _unpacked(text, project) for task, text in kept.items()}
        return {task: answer for task, answer in read.items() if answer}


def _asked(project: Project) -> list[tuple[Asked, Settings]]:
    """The LLMs that a project asks, by the settings that name them.

    One that its method does not ask is none, so that evidence costs nothing that labelling does not.
    """
    if not project.settings.uses_llm:
        return []
    asked: list[tuple[Asked, Settings]] = [("llm", project.settings)]
    if project.settings.uses_escalation:
        asked.append(("escalation", project.settings.escalated()))
    return asked


def _basis(project: Project, settings: Settings) -> str:
    return basis(settings, project.state, project.config)


def _packed(outcome: Outcome, project: Project) -> str | None:
    """None of what is to be asked about again."""
    if not isinstance(outcome, Labeled | Abstained):
        return None
    return packed(outcome, project.config.questions) or ABSTAINED


def _unpacked(text: str, project: Project) -> Answer | None:
    return Abstained("in secret") if text == ABSTAINED else unpacked(text, project.config.questions)


def _vote(control: str, answer: Answer | None) -> Vote | None:
    """What an LLM says of a control; None where it was not heard."""
    return None if answer is None else vote_of(answer, control)
