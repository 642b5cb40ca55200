"""Reviewed tickets to labels for others, without an LLM: logistic regression on character n-grams (see ``similarity``).

One binary model per label. For a single choice their probabilities are normalized over the labels and the best one
taken; for a multiple choice each label is in or out by itself, and what is stated is the probability of exactly that
set, the labels taken as independent (Read et al., "Classifier chains for multi-label classification", 2011, section 2:
binary relevance). Fitting is deterministic.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import log, prod

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from prelabel.core.types import Choices, Example
from prelabel.quality.reviews import is_answer
from prelabel.quality.similarity import LONGEST, NGRAMS

MIN_EXAMPLES = 20
MIN_ANSWERS = 2
MOST_NGRAMS = 50_000
INVERSE_REGULARIZATION = 100.0
"""Of 1 to 1000, where the stated probabilities came nearest to the share that was right without exceeding it, with 120
reviewed tickets of six labels, 70 and 280 of seven, and 2,000 of 77 (banking77), five-fold cross-validated."""

ABOUT = (
    "No LLM is configured, so the embedded model answers: a text classifier that knows nothing but the reviewed "
    "tickets. It is no LLM and cannot follow a prompt."
)
"""What people are told wherever it answers."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Guess:
    """What one question's model says of a text."""

    labels: tuple[str, ...]
    """Values in the config's order; empty only for a multiple choice for which reviewers have chosen nothing, too."""
    probability: float
    """Of exactly these labels."""
    probabilities: Mapping[str, float]
    """Of every label that the question had, in the config's order; what no reviewer has chosen yet is unlikely, but not
    impossible. For a single choice they sum to 1; for a multiple choice each is in by itself."""


class WeakModel:
    """A classifier for one question; made by :meth:`fit`."""

    def __init__(
        self,
        labels: Sequence[str],
        seen: npt.NDArray[np.bool_],
        ngrams: TfidfVectorizer,
        weights: Floats,
        *,
        multiple: bool,
        may_be_empty: bool,
    ) -> None:
        self._labels = labels
        self._seen = seen
        self._ngrams = ngrams
        self._weights = weights
        self._multiple = multiple
        self._may_be_empty = may_be_empty

    @classmethod
    def fit(cls, question: Choices, texts: Sequence[str], answers: Sequence[Collection[str]]) -> "WeakModel | None":
        """A model of the answers to ``question``, None with too few of them: see :func:`shortage`.

        Answers with a label that the question does not have are passed over. 2,000 texts of 77 labels take about two
        seconds.

        :param answers: for each text its labels.
        """
        if shortage(question, answers):
            return None
        used = [
            (text[:LONGEST], answer) for text, answer in zip(texts, answers, strict=True) if is_answer(question, answer)
        ]
        labels = list(dict.fromkeys(label.value for label in question.labels))
        is_in = np.array([[label in answer for _, answer in used] for label in labels], dtype=bool)
        seen = np.array([row.any() for row in is_in])
        ngrams = TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True, max_features=MOST_NGRAMS)
        features = ngrams.fit_transform([text for text, _ in used])
        weights = np.stack([_weights(features, row) for row in is_in])
        may_be_empty = any(not answer for _, answer in used)
        return cls(labels, seen, ngrams, weights, multiple=question.multiple, may_be_empty=may_be_empty)

    def guess(self, texts: Sequence[str]) -> list[Guess]:
        """For each text what the model takes to be most probable."""
        choose = self._several if self._multiple else self._one
        return [choose(row) for row in self._binary(texts)]

    def _binary(self, texts: Sequence[str]) -> Floats:
        """What each label's own model says: a row per text, a column per label."""
        if not texts:
            return np.zeros((0, len(self._labels)))
        features = self._ngrams.transform([text[:LONGEST] for text in texts])
        logits = features @ self._weights[:, :-1].T + self._weights[:, -1]
        found: Floats = 1.0 / (1.0 + np.exp(-np.clip(logits, -500, 500)))
        return found

    def _one(self, binary: Floats) -> Guess:
        probabilities = binary / binary.sum()
        best = self._best(probabilities)
        return Guess((self._labels[best],), float(probabilities[best]), self._by_label(probabilities))

    def _several(self, probabilities: Floats) -> Guess:
        chosen = probabilities > 0.5
        if not chosen.any() and not self._may_be_empty:
            chosen[self._best(probabilities)] = True
        probability = prod(np.where(chosen, probabilities, 1 - probabilities).tolist())
        labels = tuple(label for label, is_in in zip(self._labels, chosen, strict=True) if is_in)
        return Guess(labels, probability, self._by_label(probabilities))

    def _best(self, probabilities: Floats) -> int:
        """Of the labels that reviewers have chosen."""
        return int(np.argmax(np.where(self._seen, probabilities, -1.0)))

    def _by_label(self, probabilities: Floats) -> dict[str, float]:
        return dict(zip(self._labels, probabilities.tolist(), strict=True))


class EmbeddedModel:
    """A :class:`WeakModel` for each of a config's questions.

    ``shortages`` says of each question without a model what is lacking.

    :param examples: one without an entry for a control says nothing of that.
    """

    def __init__(self, questions: Sequence[Choices], examples: Sequence[Example]) -> None:
        self._models: dict[str, WeakModel] = {}
        self.shortages: dict[str, str] = {}
        for question in questions:
            answered = [example for example in examples if question.name in example.labels]
            answers = [example.labels[question.name] for example in answered]
            if model := WeakModel.fit(question, [example.text for example in answered], answers):
                self._models[question.name] = model
            else:
                self.shortages[question.name] = shortage(question, answers)

    def guess(self, texts: Sequence[str]) -> list[dict[str, Guess]]:
        """For each text by control what the model of that control takes to be most probable; without those that have
        none.
        """
        guesses = {name: model.guess(texts) for name, model in self._models.items()}
        return [{name: found[index] for name, found in guesses.items()} for index in range(len(texts))]

    @property
    def lack(self) -> str:
        """Why it says nothing at all; empty if it says something."""
        if self._models:
            return ""
        lacks = (f"for {name!r} {lack}" for name, lack in self.shortages.items())
        return f"the embedded model has too few reviewed tickets: {'; '.join(lacks)}"


def shortage(question: Choices, answers: Sequence[Collection[str]]) -> str:
    """What is lacking to fit a model of these answers to ``question``, empty if nothing is."""
    used = [frozenset(answer) for answer in answers if is_answer(question, answer)]
    count, different = len(used), len(set(used))
    if count >= MIN_EXAMPLES and different >= MIN_ANSWERS:
        return ""
    return f"it needs {MIN_EXAMPLES} with at least {MIN_ANSWERS} different answers and has {count} with {different}"


def _weights(features: sp.csr_matrix, is_in: npt.NDArray[np.bool_]) -> Floats:
    """One label's weight of each n-gram, and its intercept last; one of all tickets or of none has nothing but that."""
    count, total = int(is_in.sum()), len(is_in)
    if count in {0, total}:
        weights: Floats = np.zeros(features.shape[1] + 1)
        certainty = log(total + 1)  # Laplace's rule of succession: a probability of (n + 1) / (n + 2)
        weights[-1] = certainty if count else -certainty
        return weights
    fitted = LogisticRegression(C=INVERSE_REGULARIZATION, solver="liblinear", max_iter=1000).fit(features, is_in)
    return np.concatenate([fitted.coef_[0], fitted.intercept_])
