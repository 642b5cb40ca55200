"""The embedded model: what it learns, what it states, and what it says when it has too little to learn from."""

from collections.abc import Sequence
from itertools import cycle, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prelabel.core.types import Choices, Example, Label
from prelabel.quality.weak_model import MIN_EXAMPLES, EmbeddedModel, WeakModel, shortage

REFUND = ("I want my money back", "refund me please", "where is my refund", "give back the money")
SHIPPING = ("where is my parcel", "the parcel did not arrive", "track my delivery", "delivery is late")


def question(*labels: str, name: str = "intent", multiple: bool = False, required: bool = False) -> Choices:
    offered = tuple(Label(label, label) for label in labels)
    return Choices(name, "text", offered, multiple=multiple, required=required)


def repeated(texts: Sequence[str], count: int) -> list[str]:
    return list(islice(cycle(texts), count))


def fitted(asked: Choices, *groups: tuple[Sequence[str], Sequence[str]], count: int = 12) -> WeakModel:
    """A model of ``count`` tickets of each group, which are its texts and their labels."""
    texts = [text for group, _ in groups for text in repeated(group, count)]
    answers = [answer for _, answer in groups for _ in range(count)]
    model = WeakModel.fit(asked, texts, answers)
    assert model is not None
    return model


def test_a_single_choice_gets_the_label_of_its_like() -> None:
    model = fitted(question("refund", "shipping", "other"), (REFUND, ["refund"]), (SHIPPING, ["shipping"]))

    refund, shipping = model.guess(["please refund the money", "my delivery, a parcel, is late"])

    assert (refund.labels, shipping.labels) == (("refund",), ("shipping",))
    assert refund.probability > 0.8
    assert shipping.probability > 0.8


def test_what_is_like_nothing_known_gets_a_low_probability() -> None:
    model = fitted(question("refund", "shipping"), (REFUND, ["refund"]), (SHIPPING, ["shipping"]))

    [unlike, like] = model.guess(["返金", "refund me please"])

    assert unlike.probability < 0.7 < like.probability


def test_fitting_twice_gives_the_same_to_the_last_digit() -> None:
    asked = question("refund", "shipping")
    texts = ["refund my parcel", "x", ""]

    first, second = (fitted(asked, (REFUND, ["refund"]), (SHIPPING, ["shipping"])).guess(texts) for _ in range(2))

    assert first == second


def test_a_multiple_choice_gets_every_label_that_fits_in_the_configs_order() -> None:
    asked = question("shipping", "refund", multiple=True)
    both = [f"{refund}, {shipping}" for refund, shipping in zip(REFUND, SHIPPING, strict=True)]
    model = fitted(asked, (REFUND, ["refund"]), (SHIPPING, ["shipping"]), (both, ["refund", "shipping"]))

    found = model.guess([REFUND[1], SHIPPING[2], both[0]])

    assert [guess.labels for guess in found] == [("refund",), ("shipping",), ("shipping", "refund")]
    assert all(0.5 < guess.probability <= 1 for guess in found)


def test_that_no_label_fits_is_learned_where_that_is_an_answer() -> None:
    free = fitted(question("refund", multiple=True), (REFUND, ["refund"]), (SHIPPING, []))
    must = fitted(
        question("refund", "other", "third", multiple=True, required=True),
        (REFUND, ["refund"]),
        (SHIPPING, ["other"]),
        (["sign in fails", "password lost"], ["third"]),
    )

    assert [guess.labels for guess in free.guess([REFUND[0], SHIPPING[0]])] == [("refund",), ()]
    assert all(guess.labels for guess in must.guess(["", "zzz", *REFUND, *SHIPPING]))


def test_where_reviewers_always_chose_something_so_does_the_model() -> None:
    asked = question("refund", "shipping", multiple=True)
    model = fitted(asked, (REFUND, ["refund"]), (SHIPPING, ["shipping"]))

    assert all(guess.labels for guess in model.guess(["", "zzz", "qqq"]))


def test_a_label_of_every_ticket_is_nearly_certain() -> None:
    model = fitted(question("ticket", "refund", multiple=True), (REFUND, ["ticket", "refund"]), (SHIPPING, ["ticket"]))

    assert "ticket" in model.guess(["anything"])[0].labels


@pytest.mark.parametrize(
    ("answers", "lacks"),
    [
        ([], "it needs 20 with at least 2 different answers and has 0 with 0"),
        ([["a"], ["b"]], "it needs 20 with at least 2 different answers and has 2 with 2"),
        ([["a"]] * 30, "it needs 20 with at least 2 different answers and has 30 with 1"),
        ([["a"]] * 19 + [["b"]], ""),
        ([["a"]] * 19 + [["gone"], []], "it needs 20 with at least 2 different answers and has 19 with 1"),
    ],
)
def test_with_too_few_examples_it_says_how_many_it_needs(answers: list[list[str]], lacks: str) -> None:
    asked = question("a", "b")

    assert shortage(asked, answers) == lacks
    assert (WeakModel.fit(asked, ["text"] * len(answers), answers) is None) == bool(lacks)


def test_a_config_without_enough_examples_gets_no_label_but_the_reason() -> None:
    model = EmbeddedModel([question("refund", "shipping")], [Example(1, "refund", {"intent": ("refund",)})])

    assert model.guess(["refund", "x"]) == [{}, {}]
    assert model.lack == (
        "the embedded model has too few reviewed tickets: for 'intent' it needs 20 with at least 2 different answers "
        "and has 1 with 1"
    )


def test_each_question_has_a_model_of_its_own_and_one_without_is_left_out() -> None:
    intent, mood = question("refund", "shipping"), question("calm", "angry", name="mood")
    rare = question("a", "b", name="rare")
    examples = [
        Example(number, text, {"intent": ("refund" if text in REFUND else "shipping",), "mood": (mood_of(number),)})
        for number, text in enumerate(repeated(REFUND + SHIPPING, 24))
    ]

    model = EmbeddedModel([intent, mood, rare], examples)
    [guesses] = model.guess([REFUND[1]])

    assert {name: guess.labels for name, guess in guesses.items()} == {"intent": ("refund",), "mood": ("angry",)}
    assert (list(model.shortages), model.lack) == (["rare"], "")


def test_each_question_that_has_a_model_is_guessed_as_by_that_alone() -> None:
    intent, rare = question("refund", "shipping", "other"), question("a", "b", name="rare")
    examples = [
        Example(number, text, {"intent": ("refund" if text in REFUND else "shipping",)})
        for number, text in enumerate(repeated(REFUND + SHIPPING, 24))
    ]
    alone = WeakModel.fit(intent, [each.text for each in examples], [each.labels["intent"] for each in examples])
    model = EmbeddedModel([intent, rare], examples)

    assert alone
    assert model.guess(REFUND) == [{"intent": told} for told in alone.guess(REFUND)]
    assert model.guess([]) == []
    assert EmbeddedModel([rare], examples).guess(REFUND[:2]) == [{}, {}]


def test_an_example_without_an_entry_for_a_control_says_nothing_of_it() -> None:
    tags = question("vip", "angry", name="tags", multiple=True)
    some = [Example(number, REFUND[0], {"tags": ("vip",)}) for number in range(12)]
    none_fits = [Example(20 + number, SHIPPING[0], {"tags": ()}) for number in range(12)]
    silent = [Example(40 + number, SHIPPING[0], {}) for number in range(12)]

    assert EmbeddedModel([tags], [*some, *none_fits]).shortages == {}
    assert EmbeddedModel([tags], [*some, *silent]).shortages == {
        "tags": "it needs 20 with at least 2 different answers and has 12 with 1"
    }


def mood_of(number: int) -> str:
    return "angry" if number % 2 else "calm"


def test_each_label_has_its_probability_and_the_best_is_the_guess() -> None:
    single = fitted(question("refund", "shipping", "unseen"), (REFUND, ["refund"]), (SHIPPING, ["shipping"]))
    both = question("refund", "shipping", multiple=True)
    several = fitted(both, (REFUND, ["refund", "shipping"]), (SHIPPING, ["shipping"]), (["hello", "good day"], []))

    [one], [other] = single.guess([REFUND[0]]), several.guess([REFUND[0]])

    assert list(one.probabilities) == ["refund", "shipping", "unseen"]
    assert sum(one.probabilities.values()) == pytest.approx(1)
    assert one.probability == one.probabilities["refund"]
    assert other.probability == pytest.approx(other.probabilities["refund"] * other.probabilities["shipping"])


def test_a_label_that_nobody_has_chosen_yet_is_unlikely_and_never_the_guess() -> None:
    """24 reviewed tickets: Laplace's rule of succession gives it 1 in 26, before it is normalized."""
    labels = ["unseen", "refund", "shipping"]
    single = fitted(question(*labels), (REFUND, ["refund"]), (SHIPPING, ["shipping"]))
    several = fitted(question(*labels, multiple=True), (REFUND, ["refund"]), (SHIPPING, ["shipping"]))
    crowded = fitted(question(*labels, *map(str, range(100))), (REFUND, ["refund"]), (SHIPPING, ["shipping"]))

    texts = ["返金", "", REFUND[0]]

    assert [guess.probabilities["unseen"] for guess in several.guess(texts)] == [pytest.approx(1 / 26)] * 3
    assert all(0.01 < guess.probabilities["unseen"] < 0.05 for guess in single.guess(texts))
    assert all(set(guess.labels) <= {"refund", "shipping"} for guess in crowded.guess(texts))


def test_nothing_asked_is_nothing_answered() -> None:
    model = fitted(question("refund", "shipping"), (REFUND, ["refund"]), (SHIPPING, ["shipping"]))

    assert model.guess([]) == []


TEXTS = st.text(st.characters(exclude_categories=()), max_size=30)
ANSWERS = st.lists(st.sampled_from(["a", "b", "c", "gone"]), max_size=3)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, ANSWERS), min_size=MIN_EXAMPLES, max_size=30),
    st.lists(TEXTS, max_size=5),
    st.booleans(),
    st.booleans(),
)
def test_whatever_it_learned_from_it_states_labels_of_the_config_and_a_probability(
    reviewed: list[tuple[str, list[str]]], texts: list[str], multiple: bool, required: bool
) -> None:
    asked = question("a", "b", "c", multiple=multiple, required=required)
    answers = [answer if multiple else answer[:1] for _, answer in reviewed]

    model = WeakModel.fit(asked, [text for text, _ in reviewed], answers)

    for guess in model.guess(texts) if model else []:
        assert set(guess.labels) <= {"a", "b", "c"}
        assert 0.0 <= guess.probability <= 1.0
        assert multiple or len(guess.labels) == 1
        assert guess.labels or not required
