"""Which texts are most alike: TF-IDF over character n-grams, which needs no words and so serves any language.

Texts are hashed into a fixed number of features, so one can be added or taken out without fitting anything again;
document frequencies are counted along. Salton and Buckley, "Term-weighting approaches in automatic text retrieval"
(1988) for the weights: (1 + log tf) * (1 + log((1 + n) / (1 + df))), cosine.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

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

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]
Row = tuple[npt.NDArray[np.int32], Floats]
"""A text's features, and the weight of each before that of its rarity."""


class SimilarityIndex:
    """Texts by number, and for other texts those of them that are most alike. Not thread-safe."""

    def __init__(self) -> None:
        self._hashed = HashingVectorizer(
            analyzer="char_wb", ngram_range=NGRAMS, n_features=FEATURES, alternate_sign=False, norm=None
        )
        self._rows: dict[int, Row] = {}
        self._frequency = np.zeros(FEATURES, dtype=np.int32)
        self._prepared: tuple[Keys, sp.csr_matrix] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> Keys:
        """Of all texts, rising."""
        if self._prepared:
            return self._prepared[0]
        return np.sort(np.fromiter(self._rows, dtype=np.int64, count=len(self._rows)))

    def put(self, key: int, text: str) -> None:
        """Add a text, or replace the one under ``key``."""
        self.put_all({key: text})

    def put_all(self, texts: Mapping[int, str]) -> None:
        """Add texts by their keys, or replace those that are there; many at once cost much less than one by one."""
        for key in texts:
            self.remove(key)
        if texts:
            counts = self._counts(list(texts.values()))
            ends = counts.indptr[1:-1]
            rows = zip(np.split(counts.indices, ends), np.split(counts.data, ends), strict=True)
            self._rows |= dict(zip(texts, rows, strict=True))
            np.add.at(self._frequency, counts.indices, 1)
            self._prepared = None

    def remove(self, key: int) -> None:
        """Take a text out; an unknown key is fine."""
        if row := self._rows.pop(key, None):
            self._frequency[row[0]] -= 1
            self._prepared = None

    def nearest(self, texts: Sequence[str], count: int) -> list[list[tuple[int, float]]]:
        """For each text at most ``count`` keys with their cosine, 0 to 1, the nearest first; none with 0."""
        keys = self.keys
        found = ((largest(row, count), row) for row in self.compare(texts))
        return [list(zip(keys[best].tolist(), row[best].tolist(), strict=True)) for best, row in found]

    def compare(self, texts: Sequence[str]) -> Iterator[Floats]:
        """For each text its cosine with each text of the index, 0 to 1, in the order of :attr:`keys`.

        A row is the caller's to change. The index must stay as it is until the last one has come.
        """
        if not self._rows:
            yield from (np.zeros(0) for _ in texts)
            return
        keys, matrix = self._prepare()
        for start in range(0, len(texts), CHUNK):
            similar = (self._weighted(self._counts(texts[start : start + CHUNK])) @ matrix.T).tocsr()
            for first, end in pairwise(similar.indptr):
                row = np.zeros(len(keys))
                row[similar.indices[first:end]] = similar.data[first:end]
                yield np.minimum(row, 1.0, out=row)

    def cosines(self) -> Floats:
        """The cosine of each text with each, 0 to 1, in the order of :attr:`keys`; memory grows with its square."""
        _, matrix = self._prepare()
        return np.asarray((matrix @ matrix.T).toarray(), dtype=np.float64)

    def _prepare(self) -> tuple[Keys, sp.csr_matrix]:
        if self._prepared is None:
            keys = self.keys
            rows = [self._rows[key] for key in keys.tolist()]
            ends = np.cumsum([0, *(len(features) for features, _ in rows)])
            features, weights = (np.concatenate(parts) for parts in zip(*rows, strict=True))
            counts = sp.csr_matrix((weights, features, ends), shape=(len(rows), FEATURES))
            self._prepared = keys, self._weighted(counts)
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


def largest(values: Floats, count: int) -> npt.NDArray[np.intp]:
    """The places of the ``count`` largest values above 0, the largest first, of equal ones the first."""
    if count < 1:
        return np.zeros(0, dtype=np.intp)
    least = np.partition(values, -count)[-count] if count < len(values) else 0.0
    found = np.flatnonzero((values >= least) & (values > 0))
    return found[np.argsort(-values[found], kind="stable")][:count]
