"""What one request says: its tickets, and beside them as many notes and examples as there is room for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any, TypeVar

from prelabel.core.prompt import build_messages, ticket_fields, to_data
from prelabel.core.schema import reply_schema
from prelabel.core.tokens import cut_middle, estimate_tokens
from prelabel.core.types import Choices, Example, Note, Ticket
from prelabel.llm.exchange import ChatRequest

T = TypeVar("T")

LONGEST_EXAMPLE_TOKENS = 200
SLACK_TOKENS = 20
"""What quotes and an escaped line break here and there may cost on top."""
SMALLEST_TICKET_TOKENS = 200
"""What a ticket may cost even where instructions and labels have used up the budget."""
NOTES_SHARE = 4
"""Notes take at most one part in so many of the room."""
REPLY_TOKENS, COMMENT_TOKENS, LABEL_TOKENS = 24, 60, 3
"""What one answer usually costs; its comment; a further label of a multiple choice."""
SPARE_REPLY, SPARE_REPLY_TOKENS = 3, 100
"""How many times that a reply may take, and what it may take besides. No more: OpenAI counts the limit itself as used
when it holds a key to its tokens a minute (https://platform.openai.com/docs/guides/rate-limits)."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What is asked of every ticket, and how much of it goes into one request."""

    questions: tuple[Choices, ...]
    prompt: str = ""
    template: str = ""
    with_comment: bool = False
    tasks_per_request: int = 10
    max_input_tokens: int = 8000


@dataclass(frozen=True, slots=True)
class Told:
    """A ticket, and what the LLM is told beside it, the most fitting first."""

    ticket: Ticket
    examples: Sequence[Example] = ()
    notes: Sequence[Note] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A ticket, cut to what one request holds, with what is told beside it."""

    places: tuple[int, ...]
    """Where it stands among the tickets; several where they read the same."""
    task_ids: frozenset[int | None]
    ticket: Ticket
    examples: Sequence[Example]
    notes: Sequence[Note]
    tokens: int


@dataclass(slots=True)
class Measured:
    """What has been learned of one model's tokens; used on one event loop."""

    factor: float = 1.0
    """Tokens that it counts to one of our estimates."""
    reply_room: int = 1
    """How many times the usual limit its replies need: models that think in secret spend it on that."""

    def count_prompt(self, estimated: int, counted: int) -> None:
        """A request was estimated at so many tokens, and the server has counted so many; 0 if it did not say."""
        if estimated and counted:
            self.factor += 0.2 * (min(3.0, max(0.5, counted / estimated)) - self.factor)


@dataclass(slots=True)
class Composer:
    """Makes requests of an assignment; the same for all of its tickets but for what it says of them."""

    assignment: Assignment
    fields: frozenset[str]
    """Those of the tickets' tasks that the template names."""
    measured: Measured
    _schema: dict[str, Any] = field(init=False)
    _overhead: int = field(init=False)

    def __post_init__(self) -> None:
        work = self.assignment
        self._schema = reply_schema(work.questions, with_comment=work.with_comment)
        bare = build_messages(work.questions, work.prompt, [], template=work.template, with_comment=work.with_comment)
        self._overhead = sum(estimate_tokens(message.content) for message in bare)
        self._overhead += estimate_tokens(to_data(self._schema))

    @classmethod
    def of(cls, assignment: Assignment, tickets: Sequence[Ticket], measured: Measured) -> "Composer":
        return cls(assignment, frozenset(ticket_fields(assignment.template, tickets)), measured)

    @property
    def room(self) -> int:
        """Estimated tokens for what is not the same in every request."""
        budget = int(self.assignment.max_input_tokens / max(1.0, self.measured.factor))
        return max(SMALLEST_TICKET_TOKENS, budget - self._overhead)

    @property
    def most_together(self) -> int:
        """Tickets in one request."""
        return 1 if self.fields else self.assignment.tasks_per_request

    def item(self, places: Sequence[int], told: Sequence[Told]) -> Item:
        """Tickets that read the same, cut to their share of the room: the text, and each field that is named.

        :param places: where ``told`` has them.
        """
        first = told[places[0]]
        ticket = first.ticket
        share = self.room // (1 + len(self.fields))
        text = _cut(ticket.text, share)
        fields = {name: _cut(ticket.fields[name], share) for name in self.fields if name in ticket.fields}
        tokens = sum(estimate_tokens(to_data(value)) for value in (text, *fields.values()))
        cut = Ticket(ticket.task_id, text, fields)
        task_ids = frozenset(told[place].ticket.task_id for place in places)
        return Item(tuple(places), task_ids, cut, first.examples, first.notes, tokens)

    def request(
        self, group: Sequence[Item], *, reply_room: int = 1, is_repair: bool = False, is_bare: bool = False
    ) -> ChatRequest:
        """A request about ``group``.

        :param reply_room: how many times the usual its reply may take.
        :param is_repair: an earlier one was answered, but of no use.
        :param is_bare: without notes and examples.
        """
        work = self.assignment
        room = 0 if is_bare else self.room - sum(item.tokens for item in group)
        notes = _notes(group, room // NOTES_SHARE)
        room -= sum(map(_cost, notes))
        messages = build_messages(
            work.questions,
            work.prompt,
            [item.ticket for item in group],
            _examples(group, room),
            notes=notes,
            template=work.template,
            with_comment=work.with_comment,
            is_repair=is_repair,
        )
        most = reply_room * self._usual_reply(len(group))
        return ChatRequest(messages, self._schema, max_tokens=most, logprobs=True)

    def count_prompt(self, request: ChatRequest, counted: int) -> None:
        """The server has counted so many tokens in ``request``."""
        estimated = sum(estimate_tokens(message.content) for message in request.messages)
        self.measured.count_prompt(estimated + estimate_tokens(to_data(self._schema)), counted)

    def _usual_reply(self, count: int) -> int:
        further = sum(len(question.labels) for question in self.assignment.questions if question.multiple)
        one = REPLY_TOKENS * len(self.assignment.questions) + LABEL_TOKENS * further
        one += COMMENT_TOKENS if self.assignment.with_comment else 0
        return SPARE_REPLY_TOKENS + SPARE_REPLY * count * one


def _notes(group: Sequence[Item], room: int) -> list[Note]:
    """The group's notes, each once, that fit into ``room`` tokens."""
    chosen: list[Note] = []
    for note in _in_turn([item.notes for item in group], lambda note: note.name):
        if _cost(note) <= room:
            chosen.append(note)
            room -= _cost(note)
    return chosen


def _cost(note: Note) -> int:
    return estimate_tokens(to_data(note.name)) + estimate_tokens(to_data(note.text))


def _examples(group: Sequence[Item], room: int) -> list[Example]:
    """The group's examples, each once, none of a ticket that is asked about, that fit into ``room`` tokens."""
    asked = frozenset[int | None]().union(*(item.task_ids for item in group))
    chosen: list[Example] = []
    for example in _in_turn([item.examples for item in group], lambda example: example.task_id):
        if example.task_id in asked:
            continue
        text = cut_middle(example.text, LONGEST_EXAMPLE_TOKENS)
        room -= estimate_tokens(text)
        if room < 0:
            break
        chosen.append(Example(example.task_id, text, example.labels))
    return chosen


def _in_turn(lists: Sequence[Sequence[T]], key: Callable[[T], object]) -> Iterator[T]:
    """The first of each list, then the second of each, and so on; each only once."""
    seen: set[object] = set()
    for each in filter(lambda one: one is not None, chain.from_iterable(zip_longest(*lists))):
        if key(each) not in seen:
            seen.add(key(each))
            yield each


def _cut(text: str, max_tokens: int) -> str:
    """``text`` cut so that as JSON, in which control characters take six, it costs at most about ``max_tokens``."""
    kept, allowed = cut_middle(text, max_tokens), max_tokens
    while (tokens := estimate_tokens(to_data(kept))) > max_tokens + SLACK_TOKENS and allowed > SLACK_TOKENS:
        allowed = min(allowed - SLACK_TOKENS, allowed * max_tokens // tokens)
        kept = cut_middle(text, allowed)
    return kept
