from prelabel.runs.patience import Patience


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_is_borne_for_so_long_however_long_a_try_takes() -> None:
    clock = Clock()
    patience = Patience(120, clock)

    given_up = []
    for _ in range(5):
        given_up.append(patience.is_over(7))
        clock.now += 40

    assert given_up == [False, False, False, False, True]
    assert patience.tries == 5


def test_once_something_has_gone_well_it_is_another_outage() -> None:
    clock = Clock()
    patience = Patience(120, clock)
    assert not patience.is_over(7)

    clock.now += 300

    assert not patience.is_over(8)
    assert patience.tries == 1
