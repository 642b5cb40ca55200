"""Tickets to outcomes by way of an LLM: several tickets a request, all requests at once, within a deadline.

What a reply leaves unanswered goes again in halves, down to single tickets, so that one bad ticket never costs its
neighbours anything; only a ticket that is alone in its request abstains.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from prelabel.core.parse import parse_reply
from prelabel.core.prompt import Message, build_messages, ticket_fields, to_data
from prelabel.core.schema import reply_schema
from prelabel.core.tokens import cut_middle, estimate_tokens
from prelabel.core.types import Abstained, Choices, Example, Failed, Outcome, Ticket, Usage
from prelabel.errors import LLMError, LLMRefusesContent, LLMRefusesForm, LLMRefusesRequest
from prelabel.llm.exchange import ChatReply, ChatRequest

LONGEST_EXAMPLE_TOKENS = 200
SLACK_TOKENS = 20
"""What quotes and an escaped line break here and there may cost on top."""
SMALLEST_TICKET_TOKENS = 200
"""What a ticket may cost even where instructions and labels have used up the budget."""


class Chat(Protocol):
    """What asking needs of an LLM."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        """:raises LLMError: there is no reply."""


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
class _Item:
    """A ticket, cut to what one request holds, with the examples chosen for it and its place among the tickets."""

    index: int
    ticket: Ticket
    examples: Sequence[Example]
    tokens: int


async def ask(
    chat: Chat,
    assignment: Assignment,
    tickets: Sequence[Ticket],
    examples: Sequence[Sequence[Example]],
    deadline_s: float,
    usage: Usage | None = None,
) -> list[Outcome]:
    """One outcome per ticket, in order, after at most about ``deadline_s`` seconds.

    :param examples: for each ticket its examples, the most fitting first.
    :param usage: what it costs is added to it.
    """
    asking = _Asking(chat, assignment, tickets, usage or Usage())
    items = [asking.item(index, *pair) for index, pair in enumerate(zip(tickets, examples, strict=True))]
    running = [asyncio.create_task(asking.ask_group(group)) for group in asking.groups(items)]
    if running:
        done, late = await asyncio.wait(running, timeout=max(0.0, deadline_s))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in done:
            task.result()
    not_reached = Failed(f"not reached within {deadline_s:.3g} s")
    return [asking.outcomes.get(item.index, not_reached) for item in items]


class _Asking:
    """One call of :func:`ask`: what is known so far, by the tickets' places."""

    def __init__(self, chat: Chat, assignment: Assignment, tickets: Sequence[Ticket], usage: Usage) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self._usage = usage
        self._chat = chat
        self._assignment = assignment
        self._schema = reply_schema(assignment.questions, with_comment=assignment.with_comment)
        bare = build_messages(assignment.questions, assignment.prompt, [], template=assignment.template)
        overhead = sum(estimate_tokens(message.content) for message in bare)
        self._room = max(SMALLEST_TICKET_TOKENS, assignment.max_input_tokens - overhead)
        self._fields = ticket_fields(assignment.template, tickets)
        self._group_size = 1 if self._fields else assignment.tasks_per_request

    def item(self, index: int, ticket: Ticket, examples: Sequence[Example]) -> _Item:
        """The ticket with its text, and the fields that the template names, each cut to its share of the room."""
        share = self._room // (1 + len(self._fields))
        text = _cut(ticket.text, share)
        fields = {name: _cut(ticket.fields[name], share) for name in self._fields if name in ticket.fields}
        tokens = sum(estimate_tokens(to_data(value)) for value in (text, *fields.values()))
        return _Item(index, Ticket(ticket.task_id, text, fields), examples, tokens)

    def groups(self, items: Sequence[_Item]) -> Iterator[list[_Item]]:
        """Neighbours together while there is room for them; a ticket longer than a quarter of the room goes alone."""
        group: list[_Item] = []
        used = 0
        for item in items:
            if item.tokens > self._room // 4:
                yield [item]
                continue
            if group and (len(group) == self._group_size or used + item.tokens > self._room // 2):
                yield group
                group, used = [], 0
            group.append(item)
            used += item.tokens
        if group:
            yield group

    async def ask_group(self, group: Sequence[_Item]) -> None:
        try:
            reply = await self._chat.complete(ChatRequest(self._messages(group), self._schema))
        except LLMRefusesContent as error:
            reply = ChatReply("", str(error))
        except LLMRefusesForm as error:
            reply = ChatReply("", str(error), is_final=False)
        except LLMError as error:
            failed = Failed(str(error), fatal=isinstance(error, LLMRefusesRequest))
            self.outcomes.update({item.index: failed for item in group})
            return
        self._count(reply)
        answers = parse_reply(reply.text, self._assignment.questions, len(group))
        self.outcomes.update({group[number - 1].index: answer for number, answer in answers.items()})
        rest = [item for number, item in enumerate(group, 1) if number not in answers]
        if len(group) == 1:
            reason = reply.problem or "the LLM's reply names no label of the config"
            outcome = Abstained(reason) if reply.is_final else Failed(reason)
            self.outcomes.update({item.index: outcome for item in rest})
        elif rest:
            middle = -(-len(rest) // 2) if len(rest) > 1 else 1
            await asyncio.gather(*(self.ask_group(half) for half in (rest[:middle], rest[middle:]) if half))

    def _count(self, reply: ChatReply) -> None:
        self._usage.requests += 1
        self._usage.prompt_tokens += reply.prompt_tokens
        self._usage.completion_tokens += reply.completion_tokens

    def _messages(self, group: Sequence[_Item]) -> tuple[Message, ...]:
        work = self._assignment
        tickets = [item.ticket for item in group]
        return build_messages(work.questions, work.prompt, tickets, self._examples(group), template=work.template)

    def _examples(self, group: Sequence[_Item]) -> list[Example]:
        """The group's examples, each once, none of a ticket that is asked about, within the room that is left."""
        asked = {item.ticket.task_id for item in group}
        room = self._room - sum(item.tokens for item in group)
        chosen: dict[int, Example] = {}
        ranks = max((len(item.examples) for item in group), default=0)
        for rank in range(ranks):
            for example in (item.examples[rank] for item in group if rank < len(item.examples)):
                if example.task_id in asked or example.task_id in chosen:
                    continue
                text = cut_middle(example.text, LONGEST_EXAMPLE_TOKENS)
                room -= estimate_tokens(text)
                if room < 0:
                    return list(chosen.values())
                chosen[example.task_id] = Example(example.task_id, text, example.labels)
        return list(chosen.values())


def _cut(text: str, max_tokens: int) -> str:
    """``text`` cut so that as JSON, in which control characters take six, it costs at most about ``max_tokens``."""
    kept, allowed = cut_middle(text, max_tokens), max_tokens
    while (tokens := estimate_tokens(to_data(kept))) > max_tokens + SLACK_TOKENS and allowed > SLACK_TOKENS:
        allowed = min(allowed - SLACK_TOKENS, allowed * max_tokens // tokens)
        kept = cut_middle(text, allowed)
    return kept
