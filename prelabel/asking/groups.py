"""Which tickets share a request."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from prelabel.asking.requests import Composer, Item, Told
from prelabel.core.types import Ticket


def grouped(told: Sequence[Told], composer: Composer, order: Sequence[int] | None = None) -> list[list[Item]]:
    """Tickets in the groups in which they are asked about; those that read the same are one item.

    :param order: their places in the order in which they are put together; by default as they come.
    """
    same = _same([each.ticket for each in told], composer.fields, order or range(len(told)))
    return list(_groups([composer.item(places, told) for places in same], composer))


def _same(tickets: Sequence[Ticket], fields: frozenset[str], order: Sequence[int]) -> list[list[int]]:
    """The places of tickets that an LLM cannot tell apart, together."""
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place in order:
        ticket = tickets[place]
        places[ticket.text, *(f"{name}={ticket.fields.get(name)}" for name in sorted(fields))].append(place)
    return list(places.values())


def _groups(items: Sequence[Item], composer: Composer) -> Iterator[list[Item]]:
    """Neighbours together while there is room for them; a ticket longer than a quarter of the room goes alone."""
    room = composer.room
    group: list[Item] = []
    used = 0
    for item in items:
        if item.tokens > room // 4:
            yield [item]
            continue
        if group and (len(group) == composer.most_together or used + item.tokens > room // 2):
            yield group
            group, used = [], 0
        group.append(item)
        used += item.tokens
    if group:
        yield group
