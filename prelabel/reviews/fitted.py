"""A project's weak model, fitted anew as reviews come in, but not for each of them: with thousands it takes seconds."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from prelabel.core.types import Choices, Example
from prelabel.quality.weak_model import EmbeddedModel

FEW = 100
"""Reviewed tasks below which each counts, so that any change makes a model anew."""
DRIFT = 0.1
"""Share of the tasks that a model was fitted to; when as many are new, changed or gone it is fitted anew."""
AT_ONCE = 300
"""Reviewed tasks below which a fit takes a fraction of a second, with long texts and 77 labels about one."""

Agreed = Mapping[int, Example]
"""Reviewed tasks by their ids, as far as people agree; never changed, but replaced by others."""
Fit = Callable[[Sequence[Choices], Sequence[Example]], EmbeddedModel]


@dataclass(frozen=True, slots=True)
class _Held:
    model: EmbeddedModel
    questions: Sequence[Choices]
    reviews: Agreed

    def serves(self, questions: Sequence[Choices], reviews: Agreed) -> bool:
        if self.questions != questions:
            return False
        changed = 0 if self.reviews is reviews else _difference(self.reviews, reviews)
        return changed == 0 or (len(reviews) >= FEW and changed < DRIFT * len(self.reviews))


class Fitted:
    """One project's weak model; thread-safe. One is fitted at a time."""

    def __init__(self, fit: Fit = EmbeddedModel) -> None:
        self._fit = fit
        self._held: _Held | None = None
        self._fitting = threading.Lock()
        self._starting = threading.Lock()
        self._background: threading.Thread | None = None

    def waited_for(self, questions: Sequence[Choices], reviews: Agreed) -> EmbeddedModel:
        """A model of ``reviews``, or of all but the last few of them."""
        held = self._held
        if held is None or not held.serves(questions, reviews):
            with self._fitting:
                held = self._held
                if held is None or not held.serves(questions, reviews):  # nobody has fitted one meanwhile
                    model = self._fit(questions, [reviews[task] for task in sorted(reviews)])
                    self._held = held = _Held(model, questions, reviews)
        return held.model

    def meanwhile(
        self, questions: Sequence[Choices], reviews: Agreed, *, within_s: float = 0.0
    ) -> EmbeddedModel | None:
        """The same where that takes no time to speak of; else the last one, None before the first.

        Then the next is fitted in the background.

        :param within_s: how long the first is waited for.
        """
        held = self._held
        if len(reviews) < AT_ONCE or (held and held.serves(questions, reviews)):
            return self.waited_for(questions, reviews)
        with self._starting:
            if self._background is None or not self._background.is_alive():
                fit = partial(self.waited_for, questions, reviews)
                self._background = threading.Thread(target=fit, name="weak-model", daemon=True)
                self._background.start()
            background = self._background
        if within_s > 0 and not (held and held.questions == questions):
            background.join(within_s)
            held = self._held
        return held.model if held and held.questions == questions else None


def _difference(before: Agreed, now: Agreed) -> int:
    """How many tasks are new, changed or gone."""
    same = sum(example is before.get(task) or example == before.get(task) for task, example in now.items())
    return len(before.keys() | now.keys()) - same
