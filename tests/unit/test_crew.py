"""The threads of a turn: who is at what, until it is given back."""

from threading import Event

from prelabel.runs.crew import Crew
from prelabel.store.ledger import WRITE, Claim
from tests.e2e.waiting import until


class SlowLeases:
    """Leases that are given back when they may be."""

    def __init__(self) -> None:
        self.asked, self.may = Event(), Event()

    def give_back(self, *claims: Claim) -> None:
        self.asked.set()
        assert self.may.wait(20)


def test_a_part_is_worked_at_until_it_is_given_back() -> None:
    leases = SlowLeases()
    crew = Crew(leases)  # type: ignore[arg-type]

    crew.add(Claim("1", "a"), lambda: None)
    crew.add(Claim(WRITE, "b"), lambda: None)
    assert leases.asked.wait(20)

    assert (crew.size, crew.shards, crew.has(WRITE)) == (2, {"1"}, True)
    leases.may.set()
    until(lambda: not crew.size)


def test_a_part_that_is_taken_again_as_it_is_given_back_stays_the_later_ones() -> None:
    leases, goes_on = SlowLeases(), Event()

    def wait() -> None:
        assert goes_on.wait(20)

    crew = Crew(leases)  # type: ignore[arg-type]
    crew.add(Claim("1", "a"), lambda: None)
    assert leases.asked.wait(20)

    crew.add(Claim("1", "b"), wait)
    leases.may.set()

    until(lambda: crew.size == 1)
    assert crew.shards == {"1"}
    goes_on.set()
    until(lambda: not crew.size)
