"""A project's weak model: when it is fitted anew, who waits for it, and that one is fitted at a time."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from prelabel.core.types import Choices, Example
from prelabel.quality.weak_model import EmbeddedModel
from prelabel.reviews.fitted import AT_ONCE, DRIFT, FEW, Fitted
from tests.unit.reviewing import INTENT, TONE

PATIENCE_S = 10.0
ASKED, OTHERS = (INTENT,), (INTENT, TONE)


class Fits:
    """Fits nothing, counts, and takes as long as it is told to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.at_once = 0
        self.most_at_once = 0
        self.may_end = threading.Event()
        self.may_end.set()
        self.has_begun = threading.Event()

    def __call__(self, questions: Sequence[Choices], examples: Sequence[Example]) -> EmbeddedModel:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        self.sizes.append(len(examples))
        self.has_begun.set()
        assert self.may_end.wait(PATIENCE_S)
        time.sleep(0.002)  # so that others would begin meanwhile
        self.at_once -= 1
        return EmbeddedModel(questions, [])


@pytest.fixture
def fits() -> Fits:
    return Fits()


@pytest.fixture
def fitted(fits: Fits) -> Fitted:
    background_over()
    return Fitted(fits)


def reviews(count: int, label: str = "refund", of: range | None = None) -> dict[int, Example]:
    """As many, of which those with numbers in ``of`` have another label than ``refund``."""
    labels = {number: label if of is None or number in of else "refund" for number in range(count)}
    return {number: Example(number, f"ticket {number}", {"intent": (given,)}) for number, given in labels.items()}


def background() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "weak-model"]


def background_over() -> None:
    for thread in background():
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_the_same_reviews_are_fitted_once(fits: Fits, fitted: Fitted) -> None:
    first, second = fitted.waited_for(ASKED, reviews(40)), fitted.waited_for(ASKED, reviews(40))

    assert first is second
    assert fits.sizes == [40]


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(reviews(FEW - 1), id="one more"),
        pytest.param(reviews(FEW - 3), id="one less"),
        pytest.param(reviews(FEW - 2, "other", of=range(5, 6)), id="another label"),
    ],
)
def test_of_few_reviews_every_change_counts(fits: Fits, fitted: Fitted, then: dict[int, Example]) -> None:
    fitted.waited_for(ASKED, reviews(FEW - 2))
    fitted.waited_for(ASKED, then)

    assert fits.sizes == [FEW - 2, len(then)]


TENTH = round(DRIFT * 200)


@pytest.mark.parametrize(
    ("then", "is_fitted_anew"),
    [
        pytest.param(reviews(200 + TENTH - 1), False, id="nearly a tenth more"),
        pytest.param(reviews(200 + TENTH), True, id="a tenth more"),
        pytest.param(reviews(200 - TENTH + 1), False, id="nearly a tenth less"),
        pytest.param(reviews(200 - TENTH), True, id="a tenth less"),
        pytest.param(reviews(200, "other", of=range(TENTH - 1)), False, id="nearly a tenth with other labels"),
        pytest.param(reviews(200, "other", of=range(TENTH)), True, id="a tenth with other labels"),
        pytest.param(reviews(200 + 5, "other", of=range(TENTH - 5)), True, id="new and changed ones"),
    ],
)
def test_of_many_reviews_a_tenth_counts(
    fits: Fits, fitted: Fitted, then: dict[int, Example], is_fitted_anew: bool
) -> None:
    first = fitted.waited_for(ASKED, reviews(200))
    second = fitted.waited_for(ASKED, then)

    assert (second is not first) == is_fitted_anew
    assert fits.sizes == ([200, len(then)] if is_fitted_anew else [200])


def test_small_changes_add_up(fits: Fits, fitted: Fitted) -> None:
    for count in range(200, 200 + TENTH + 1, 5):
        fitted.waited_for(ASKED, reviews(count))

    assert fits.sizes == [200, 200 + TENTH]


def test_other_questions_are_fitted_at_once(fits: Fits, fitted: Fitted) -> None:
    fitted.waited_for(ASKED, reviews(200))
    fitted.waited_for(OTHERS, reviews(200))

    assert fits.sizes == [200, 200]


def test_of_few_reviews_the_model_is_always_there(fits: Fits, fitted: Fitted) -> None:
    assert fitted.meanwhile(ASKED, reviews(AT_ONCE - 1)) is not None
    assert fits.sizes == [AT_ONCE - 1]


def test_while_many_are_fitted_nobody_waits(fits: Fits, fitted: Fitted) -> None:
    fits.may_end.clear()

    assert fitted.meanwhile(ASKED, reviews(AT_ONCE)) is None
    assert fits.has_begun.wait(PATIENCE_S)
    assert fitted.meanwhile(ASKED, reviews(AT_ONCE + 1)) is None
    assert len(background()) == 1

    fits.may_end.set()
    background_over()
    assert fitted.meanwhile(ASKED, reviews(AT_ONCE + 1)) is not None
    assert fits.sizes == [AT_ONCE]


def test_the_first_of_many_is_waited_for_no_longer_than_there_is_time(fits: Fits, fitted: Fitted) -> None:
    fits.may_end.clear()
    threading.Timer(0.2, fits.may_end.set).start()

    too_soon = fitted.meanwhile(ASKED, reviews(AT_ONCE), within_s=0.01)
    in_time = fitted.meanwhile(ASKED, reviews(AT_ONCE), within_s=PATIENCE_S)

    assert too_soon is None
    assert in_time is not None
    assert fits.sizes == [AT_ONCE]


def test_a_later_one_is_not_waited_for_where_the_last_serves(fits: Fits, fitted: Fitted) -> None:
    last = fitted.waited_for(ASKED, reviews(AT_ONCE))
    fits.may_end.clear()

    assert fitted.meanwhile(ASKED, reviews(2 * AT_ONCE), within_s=PATIENCE_S) is last

    fits.may_end.set()
    background_over()


def test_meanwhile_the_last_model_serves(fits: Fits, fitted: Fitted) -> None:
    last = fitted.waited_for(ASKED, reviews(AT_ONCE))
    fits.may_end.clear()

    assert fitted.meanwhile(ASKED, reviews(2 * AT_ONCE)) is last

    fits.may_end.set()
    background_over()
    assert fitted.meanwhile(ASKED, reviews(2 * AT_ONCE)) not in (None, last)
    assert fits.sizes == [AT_ONCE, 2 * AT_ONCE]


def test_the_last_model_does_not_answer_other_questions(fits: Fits, fitted: Fitted) -> None:
    fitted.waited_for(ASKED, reviews(AT_ONCE))
    fits.may_end.clear()

    assert fitted.meanwhile(OTHERS, reviews(AT_ONCE)) is None

    fits.may_end.set()
    background_over()
    assert fitted.meanwhile(OTHERS, reviews(AT_ONCE)) is not None


def test_who_can_wait_gets_what_is_being_fitted_already(fits: Fits, fitted: Fitted) -> None:
    fits.may_end.clear()
    fitted.meanwhile(ASKED, reviews(AT_ONCE))
    assert fits.has_begun.wait(PATIENCE_S)

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(fitted.waited_for, ASKED, reviews(AT_ONCE)) for _ in range(4)]
        fits.may_end.set()
        models = {id(each.result(PATIENCE_S)) for each in waiting}

    assert len(models) == 1
    assert fits.sizes == [AT_ONCE]


def test_one_model_is_fitted_at_a_time(fits: Fits, fitted: Fitted) -> None:
    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(fitted.waited_for, ASKED, reviews(count)) for count in range(20, 60)]:
            each.result(PATIENCE_S)

    assert fits.most_at_once == 1
