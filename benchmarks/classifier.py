"""What the fake LLM of the benchmarks knows: a classifier that has seen 22 queries of each intent, right about 82%.

It is pinned so that figures of different benchmarks and dates compare: logistic regression on TF-IDF of character
n-grams, fitted to the first 22 rows of each label of BANKING77's ``train.csv``. Fitting is deterministic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks.banking77 import Banking77

ROWS_PER_LABEL = 22
SWAY = 0.1
"""How much examples in the prompt count against what it knows."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What it thinks of one text."""

    label: str
    probability: float

    @property
    def confidence(self) -> float:
        """As it states it when asked: too high, as LLMs do."""
        return min(0.99, 0.80 + 0.19 * self.probability)


class Classifier:
    """Fitted when made, in some seconds."""

    def __init__(self, data: Banking77) -> None:
        known, _ = data.first_of_each(ROWS_PER_LABEL)
        self._ngrams = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        features = self._ngrams.fit_transform([query.text for query in known])
        self._model = LogisticRegression(C=30.0, max_iter=1000).fit(features, [query.label for query in known])

    @property
    def labels(self) -> list[str]:
        """In the order of the columns of :meth:`probabilities`."""
        return [str(label) for label in self._model.classes_]

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """A row per text, a column per label; each row sums to 1."""
        found: npt.NDArray[np.float64] = self._model.predict_proba(self._ngrams.transform(texts))
        return found

    def swayed(self, probabilities: npt.NDArray[np.float64], shown: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
        """What it thinks when examples stand in the prompt; :param shown: for each text their labels.

        Nine tenths are its own opinion, a tenth is the share of the examples that have the label: enough to be seen in
        the answers (about one label in a hundred), too little for the examples to answer in its stead.
        """
        columns = {label: column for column, label in enumerate(self.labels)}
        examples = np.array([[labels.count(label) for label in columns] for labels in map(list, shown)], dtype=float)
        counts = examples.sum(axis=1, keepdims=True)
        weight = np.where(counts > 0, SWAY, 0.0)
        found: npt.NDArray[np.float64] = (1 - weight) * probabilities + weight * examples / np.maximum(counts, 1.0)
        return found

    def beliefs(self, texts: Sequence[str]) -> list[Belief]:
        """For each text the most probable label."""
        rows = self.probabilities(texts)
        labels = self.labels
        return [Belief(labels[int(row.argmax())], float(row.max())) for row in rows]
