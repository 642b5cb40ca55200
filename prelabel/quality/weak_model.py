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

from prelabel.core.types import Choices, Example, Failed, Labeled
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


class WeakModel:
    """A classifier for one question; made by :meth:`fit`."""

    def __init__(
        self, labels: Sequence[str], ngrams: TfidfVectorizer, weights: Floats, *, multiple: bool, may_be_empty: bool
    ) -> None:
        self._labels = labels
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
            (text[:LONGEST], answer) for text, answer in zip(texts, answers, strict=True) if _counts(question, answer)
        ]
        seen = [label.value for label in question.labels if any(label.value in answer for _, answer in used)]
        ngrams = TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True, max_features=MOST_NGRAMS)
        features = ngrams.fit_transform([text for text, _ in used])
        weights = [_weights(features, np.array([label in answer for _, answer in used])) for label in seen]
        may_be_empty = any(not answer for _, answer in used)
        return cls(seen, ngrams, np.stack(weights), multiple=question.multiple, may_be_empty=may_be_empty)

    def guess(self, texts: Sequence[str]) -> list[Guess]:
        """For each text what the model takes to be most probable."""
        if not texts:
            return []
        features = self._ngrams.transform([text[:LONGEST] for text in texts])
        logits = features @ self._weights[:, :-1].T + self._weights[:, -1]
        probabilities = 1.0 / (1.0 + np.exp(-np.clip(logits, -500, 500)))
        choose = self._several if self._multiple else self._one
        return [choose(row) for row in probabilities]

    def _one(self, probabilities: Floats) -> Guess:
        best = int(np.argmax(probabilities))
        return Guess((self._labels[best],), float(probabilities[best] / probabilities.sum()))

    def _several(self, probabilities: Floats) -> Guess:
        chosen = probabilities > 0.5
        if not chosen.any() and not self._may_be_empty:
            chosen[np.argmax(probabilities)] = True
        probability = prod(np.where(chosen, probabilities, 1 - probabilities).tolist())
        return Guess(tuple(label for label, is_in in zip(self._labels, chosen, strict=True) if is_in), probability)


class EmbeddedModel:
    """A :class:`WeakModel` for each of a config's questions.

    ``shortages`` says of each question without a model what is lacking.
    """

    def __init__(self, questions: Sequence[Choices], examples: Sequence[Example]) -> None:
        texts = [example.text for example in examples]
        self._models: dict[str, WeakModel] = {}
        self.shortages: dict[str, str] = {}
        for question in questions:
            answers = [example.labels.get(question.name, ()) for example in examples]
            if model := WeakModel.fit(question, texts, answers):
                self._models[question.name] = model
            else:
                self.shortages[question.name] = shortage(question, answers)

    def label(self, texts: Sequence[str]) -> list[Labeled | Failed]:
        """For each text the labels of all questions that have a model; if none has, that it needs more examples.

        The score is the probability that all of them are right, the questions taken as independent.
        """
        if not self._models:
            return [Failed(self._needs, fatal=True) for _ in texts]
        guesses = {name: model.guess(texts) for name, model in self._models.items()}
        return [_labeled({name: found[index] for name, found in guesses.items()}) for index in range(len(texts))]

    @property
    def _needs(self) -> str:
        lacks = (f"for {name!r} {lack}" for name, lack in self.shortages.items())
        return f"the embedded model has too few reviewed tickets: {'; '.join(lacks)}"


def shortage(question: Choices, answers: Sequence[Collection[str]]) -> str:
    """What is lacking to fit a model of these answers to ``question``, empty if nothing is."""
    used = [frozenset(answer) for answer in answers if _counts(question, answer)]
    count, different = len(used), len(set(used))
    if count >= MIN_EXAMPLES and different >= MIN_ANSWERS:
        return ""
    return f"it needs {MIN_EXAMPLES} with at least {MIN_ANSWERS} different answers and has {count} with {different}"


def _counts(question: Choices, answer: Collection[str]) -> bool:
    """Whether there is something to learn from ``answer``; that no label fits is an answer to a multiple choice."""
    known = {label.value for label in question.labels}.issuperset(answer)
    return known and (bool(answer) or _may_be_empty(question))


def _may_be_empty(question: Choices) -> bool:
    return question.multiple and not question.required


def _labeled(guesses: Mapping[str, Guess]) -> Labeled:
    labels = {name: guess.labels for name, guess in guesses.items()}
    return Labeled(labels, prod(guess.probability for guess in guesses.values()))


def _weights(features: sp.csr_matrix, is_in: npt.NDArray[np.bool_]) -> Floats:
    """One label's weight of each n-gram, and its intercept last; a label of every ticket has nothing but that."""
    count, total = int(is_in.sum()), len(is_in)
    if count == total:
        weights: Floats = np.zeros(features.shape[1] + 1)
        weights[-1] = log(count + 1)  # Laplace's rule of succession: a probability of (n + 1) / (n + 2)
        return weights
    fitted = LogisticRegression(C=INVERSE_REGULARIZATION, solver="liblinear", max_iter=1000).fit(features, is_in)
    return np.concatenate([fitted.coef_[0], fitted.intercept_])
