"""The values that a ticket passes through: what is asked, of which text, and what came of it.

Plain, frozen and free of Label Studio's, OpenAI's and Redis's own shapes, which their packages translate. Read
``prompt`` next, which turns these into messages, then ``parse``, which turns a reply back into them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from prelabel.core.signals import Grounds


@dataclass(frozen=True, slots=True)
class Label:
    """One label a control offers."""

    value: str
    """What Label Studio stores: the ``alias`` where the config has one, else the displayed text."""
    text: str
    """What people are shown."""
    hint: str = ""
    aliases: tuple[str, ...] = ()
    """Other names under which it may come back (``predicted_values``)."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A question with a fixed set of labels: one of Label Studio's ``Choices`` controls."""

    name: str
    to_name: str
    labels: tuple[Label, ...]
    multiple: bool = False
    required: bool = False

    def __hash__(self) -> int:
        """What is worked out of a question is looked up for every ticket, and hundreds of labels take long to hash."""
        return hash((self.name, self.to_name, len(self.labels)))


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the LLM gets to see of a task."""

    task_id: int | None
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)
    """The task's other data as text, for prompt templates that name them."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A version of a project's instructions; ``version`` 0 is the settings' default, not yet stored."""

    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A reviewed ticket, shown to the LLM beside similar ones."""

    task_id: int
    text: str
    labels: Mapping[str, tuple[str, ...]]
    """Control name to label values, as a person chose them."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something the LLM is told beside the tickets it bears on: a term explained, a piece of a guideline."""

    name: str
    """Unique within a project: the term, or the file's name and the heading."""
    text: str
    """As the LLM reads it."""


@dataclass(frozen=True, slots=True)
class Labeled:
    """An answer: the labels of each control, in the config's order, without duplicates."""

    labels: Mapping[str, tuple[str, ...]]
    score: float
    """Confidence, 0 to 1."""
    comment: str = ""
    """What the LLM had to say about it, where it was asked to."""
    grounds: Mapping[str, Grounds] = field(default_factory=dict)
    """What speaks for the labels, by control."""


@dataclass(frozen=True, slots=True)
class Abstained:
    """No label, for a reason that lies in the ticket or the reply; asking again would not help."""

    reason: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer, for a reason that lies outside: the task may be asked again."""

    reason: str
    fatal: bool = False
    """Whether every other task would fail the same way, until somebody changes a setting."""
    passing: bool = False
    """Whether it is likely to go well a little later, with nobody doing anything."""
    is_late: bool = False
    """Whether it was not reached in time."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Not asked on purpose: a person labels it without seeing a suggestion."""


Outcome = Labeled | Abstained | Failed | Withheld


@dataclass(slots=True)
class Usage:
    """What asking has cost so far."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Those of the prompt tokens that the provider had in its cache, and bills at less."""
    completion_tokens: int = 0
    cost: float | None = 0.0
    """US dollars; None as soon as the price of any request is unknown."""
    from_cache: int = 0
    """Answers that were not asked for, since they were known already."""
    escalation_cost: float = 0.0
    """US dollars of ``cost`` that a second model took, as far as known."""
    stages: dict[str, int] = field(default_factory=dict)
    """Tickets by the stage that settled them; see ``core.signals``."""

    def add(self, *, prompt_tokens: int, cached_tokens: int, completion_tokens: int, cost: float | None) -> None:
        """One more request."""
        self.requests += 1
        self.prompt_tokens += prompt_tokens
        self.cached_tokens += cached_tokens
        self.completion_tokens += completion_tokens
        self.cost = None if self.cost is None or cost is None else self.cost + cost

    def settle(self, stage: str) -> None:
        """One more ticket was settled by a stage."""
        self.stages[stage] = self.stages.get(stage, 0) + 1

    def add_escalation(self, other: "Usage") -> None:
        """All that a second model has cost."""
        self.requests += other.requests - 1
        self.add(
            prompt_tokens=other.prompt_tokens,
            cached_tokens=other.cached_tokens,
            completion_tokens=other.completion_tokens,
            cost=other.cost,
        )
        self.from_cache += other.from_cache
        self.escalation_cost += other.cost or 0

    def take(self) -> "Usage":
        """What it has cost since this was last called."""
        taken = replace(self)
        self.requests = self.prompt_tokens = self.cached_tokens = self.completion_tokens = self.from_cache = 0
        self.cost = self.escalation_cost = 0.0
        self.stages = {}
        return taken


@dataclass(frozen=True, slots=True)
class Prediction:
    """What prelabel once said of a task."""

    labels: Mapping[str, tuple[str, ...]]
    score: float
    version: str
    """The model version that said so."""
    grounds: Mapping[str, Grounds] = field(default_factory=dict)
    """By control, as far as they were kept."""


class LabelSource(StrEnum):
    """Who is behind a label that Label Studio holds."""

    PERSON = "person"
    """A person, who may have seen a suggestion."""
    PERSON_BLIND = "person_blind"
    """A person who was shown none, on a task withheld for that."""
    BULK_ACCEPTED = "bulk_accepted"
    """Made from a prediction by a Data Manager action: nobody looked at the ticket."""
    BACKEND = "backend"
    """Written by prelabel's own user."""

    @property
    def is_person(self) -> bool:
        return self in {LabelSource.PERSON, LabelSource.PERSON_BLIND}


@dataclass(frozen=True, slots=True)
class Annotation:
    """A task's labels as Label Studio holds them, with what had been predicted before."""

    id: int
    task_id: int
    text: str
    """The ticket as the LLM would read it."""
    labels: Mapping[str, tuple[str, ...]]
    """Control name to label values; never empty."""
    source: LabelSource
    updated_at: float
    """Unix seconds."""
    author: int | None = None
    ground_truth: bool = False
    predicted: Prediction | None = None
    correction: bool = False
    """Whether a person changed what had been predicted."""
