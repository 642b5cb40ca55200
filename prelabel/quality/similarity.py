"""Which texts are most alike: TF-IDF over character n-grams, which needs no words and so serves any language.

Texts are hashed into a fixed number of features, so one can be added or taken out without fitting anything again;
document frequencies are counted along. Salton and Buckley, "Term-weighting approaches in automatic text retrieval"
(1988) for the weights: (1 + log tf) * (1 + log((1 + n) / (1 + df))), cosine.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.feature_extraction.text import HashingVectorizer

FEATURES = 2**18
NGRAMS = (2, 4)
LONGEST = 2000
"""Characters of a text that count; what it is about shows in them."""
CHUNK = 256
"""Texts compared at a time: the product with all others is nearly dense."""


class SimilarityIndex:
    """Texts by number, and for other texts those of them that are most alike. Not thread-safe."""

    def __init__(self) -> None:
        self._hashed = HashingVectorizer(
            analyzer="char_wb", ngram_range=NGRAMS, n_features=FEATURES, alternate_sign=False, norm=None
        )
        self._rows: dict[int, sp.csr_matrix] = {}
        self._frequency = np.zeros(FEATURES, dtype=np.int32)
        self._prepared: tuple[npt.NDArray[np.int64], sp.csr_matrix] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, key: int, text: str) -> None:
        """Add a text, or replace the one under ``key``."""
        self.put_all({key: text})

    def put_all(self, texts: Mapping[int, str]) -> None:
        """Add texts by their keys, or replace those that are there; many at once cost much less than one by one."""
        for key in texts:
            self.remove(key)
        if texts:
            counts = self._counts(list(texts.values()))
            self._rows |= {key: counts[number] for number, key in enumerate(texts)}
            np.add.at(self._frequency, counts.indices, 1)
            self._prepared = None

    def remove(self, key: int) -> None:
        """Take a text out; an unknown key is fine."""
        if (row := self._rows.pop(key, None)) is not None:
            self._frequency[row.indices] -= 1
            self._prepared = None

    def nearest(self, texts: Sequence[str], count: int) -> list[list[tuple[int, float]]]:
        """For each text at most ``count`` keys with their cosine, 0 to 1, the nearest first; none with 0."""
        if not self._rows or not texts or count < 1:
            return [[] for _ in texts]
        keys, matrix = self._prepare()
        found = []
        for start in range(0, len(texts), CHUNK):
            similarities = (self._weighted(self._counts(texts[start : start + CHUNK])) @ matrix.T).tocsr()
            for number in range(similarities.shape[0]):
                row = similarities[number]
                best = np.argsort(-row.data, kind="stable")[:count]
                found.append([(int(keys[row.indices[at]]), min(1.0, float(row.data[at]))) for at in best])
        return found

    def cosines(self) -> npt.NDArray[np.float64]:
        """The cosine of each text with each, 0 to 1, in the order of :meth:`put_all`; memory grows with its square."""
        _, matrix = self._prepare()
        return np.asarray((matrix @ matrix.T).toarray(), dtype=np.float64)

    def _prepare(self) -> tuple[npt.NDArray[np.int64], sp.csr_matrix]:
        if self._prepared is None:
            keys = np.fromiter(self._rows, dtype=np.int64, count=len(self._rows))
            self._prepared = keys, self._weighted(sp.vstack(list(self._rows.values()), format="csr"))
        return self._prepared

    def _counts(self, texts: Sequence[str]) -> sp.csr_matrix:
        # Half a character cannot be hashed.
        sendable = [text[:LONGEST].encode("utf-8", "replace").decode() for text in texts]
        counts = self._hashed.transform(sendable).tocsr()
        counts.data = 1.0 + np.log(counts.data)
        return counts

    def _weighted(self, counts: sp.csr_matrix) -> sp.csr_matrix:
        rarity = 1.0 + np.log((1 + len(self._rows)) / (1 + self._frequency))
        weighted = counts.copy()
        weighted.data = weighted.data * rarity[weighted.indices]
        norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        norms[norms == 0] = 1.0
        return sp.diags(1.0 / norms).dot(weighted).tocsr()
