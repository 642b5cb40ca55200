"""Which texts are most alike, in any language."""

from collections import Counter
from math import hypot, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from prelabel.quality.similarity import SimilarityIndex, largest

TEXTS = st.text(max_size=20) | st.lists(st.sampled_from(["refund", "card", "返金", "。", " "])).map(" ".join)


def index(*texts: str) -> SimilarityIndex:
    """The texts under the keys 10, 11, ..."""
    made = SimilarityIndex()
    for key, text in enumerate(texts, 10):
        made.put(key, text)
    return made


def keys(found: list[list[tuple[int, float]]]) -> list[list[int]]:
    return [[key for key, _ in near] for near in found]


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("I want my money back!", 10),
        ("MONEY", 10),
        ("my card was stollen", 11),
        ("返金してほしいです", 12),
        ("カードが届きません", 13),
    ],
)
def test_the_most_alike_comes_first_in_any_language(text: str, nearest: int) -> None:
    known = index(
        "give me my money back please", "someone has stolen my card", "返金をお願いします", "カードがまだ届かない"
    )

    assert keys(known.nearest([text], 1)) == [[nearest]]


def test_each_text_gets_its_own_nearest_at_most_as_many_as_asked() -> None:
    known = index("lost card", "lost parcel", "返金")

    assert keys(known.nearest(["返金", "lost card", "zzz", ""], 2)) == [[12], [10, 11], [], []]


def test_the_same_text_is_entirely_alike_and_an_unlike_one_is_left_out() -> None:
    [[(key, cosine)]] = index("lost card", "返金").nearest(["Lost card"], 5)

    assert key == 10
    assert cosine == pytest.approx(1.0)


def test_what_most_texts_share_counts_for_little() -> None:
    greeting = "hello dear support team, I am writing to you because of "
    known = index(greeting + "my refund", greeting + "a parcel", greeting + "my account", "refund refund")

    assert keys(known.nearest([greeting + "refund"], 1)) == [[10]]
    assert keys(known.nearest(["refund"], 1)) == [[13]]


def test_weights_are_salton_and_buckleys() -> None:
    texts, asked = ["refund refund my card", "lost card", "late refund"], "card refund card"
    grams = CountVectorizer(analyzer="char_wb", ngram_range=(2, 4)).build_analyzer()
    counted = [Counter(grams(text)) for text in (asked, *texts)]

    def weights(counts: Counter[str]) -> dict[str, float]:
        frequency = {gram: sum(gram in known for known in counted[1:]) for gram in counts}
        raw = {
            gram: (1 + log(count)) * (1 + log((1 + len(texts)) / (1 + frequency[gram])))
            for gram, count in counts.items()
        }
        return {gram: weight / hypot(*raw.values()) for gram, weight in raw.items()}

    query, *known = map(weights, counted)
    cosines = [sum(weight * query.get(gram, 0.0) for gram, weight in each.items()) for each in known]

    [found] = index(*texts).nearest([asked], 3)

    assert dict(found) == pytest.approx(dict(zip((10, 11, 12), cosines, strict=True)))


@pytest.mark.parametrize(("texts", "count"), [([], 3), (["lost card"], 0)])
def test_nothing_asked_is_nothing_found(texts: list[str], count: int) -> None:
    assert index("lost card").nearest(texts, count) == [[] for _ in texts]


def test_an_empty_index_finds_nothing() -> None:
    assert SimilarityIndex().nearest(["lost card", "refund"], 3) == [[], []]


def test_a_text_replaces_the_one_under_its_key() -> None:
    known = index("lost card")
    known.nearest(["lost card"], 1)
    known.put(10, "返金")

    assert len(known) == 1
    assert keys(known.nearest(["lost card", "返金"], 1)) == [[], [10]]


def test_a_text_taken_out_leaves_no_trace() -> None:
    known = index("lost card", "lost parcel", "late refund")
    known.nearest(["lost"], 1)
    known.remove(11)
    known.remove(99)

    fresh = SimilarityIndex()
    fresh.put(10, "lost card")
    fresh.put(12, "late refund")
    assert len(known) == 2
    assert known.nearest(["lost refund"], 5) == fresh.nearest(["lost refund"], 5)


def test_each_text_is_compared_with_all_in_the_order_of_their_keys() -> None:
    known = SimilarityIndex()
    known.put_all({30: "late refund", 10: "返金", 20: "lost card"})

    same, unlike = known.compare(["lost card", "zzz"])

    assert known.keys.tolist() == [10, 20, 30]
    assert same.tolist() == [0.0, pytest.approx(1.0), pytest.approx(dict(known.nearest(["lost card"], 2)[0])[30])]
    assert unlike.tolist() == [0.0, 0.0, 0.0]


def test_the_order_in_which_texts_came_changes_nothing() -> None:
    texts = {10: "lost card", 20: "late card", 30: "late refund"}
    known, other = SimilarityIndex(), SimilarityIndex()
    known.put_all(texts)
    for key in (30, 10, 20):
        other.put(key, texts[key])

    assert known.nearest(["card refund", "late"], 3) == other.nearest(["card refund", "late"], 3)


def test_compared_with_nothing_there_are_no_cosines() -> None:
    known = index("lost card")
    known.remove(10)

    assert [row.tolist() for row in known.compare(["lost card", "refund"])] == [[], []]
    assert known.keys.tolist() == []


@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5, 0.9, 1.0]), max_size=12), st.integers(-1, 14))
def test_the_largest_are_those_of_a_stable_sort(values: list[float], count: int) -> None:
    in_order = sorted((place for place, value in enumerate(values) if value > 0), key=lambda place: -values[place])

    assert largest(np.array(values), count).tolist() == in_order[: max(0, count)]


def test_half_an_emoji_is_a_text_like_any_other() -> None:
    """Software that counts in UTF-16 cuts texts inside a character."""
    known = index("lost card \ud83d", "late refund")

    assert keys(known.nearest(["late refund \ude00"], 1)) == [[11]]


@settings(deadline=None, max_examples=30)
@given(st.lists(TEXTS, max_size=6), st.lists(TEXTS, max_size=4), st.integers(0, 5))
def test_likeness_is_from_0_to_1_and_falls(texts: list[str], asked: list[str], count: int) -> None:
    found = index(*texts).nearest(asked, count)

    assert len(found) == len(asked)
    for near in found:
        cosines = [cosine for _, cosine in near]
        assert len(near) <= count
        assert len({key for key, _ in near}) == len(near)
        assert cosines == sorted(cosines, reverse=True)
        assert all(0.0 < cosine <= 1.0 for cosine in cosines)
