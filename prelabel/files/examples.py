"""A file's reviewed rows as what others are labelled by: an LLM's examples, or the embedded model's training set."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property

from prelabel.core.types import Choices, Example, Ticket
from prelabel.project import Project
from prelabel.quality.reviews import review_of
from prelabel.quality.similarity import SimilarityIndex
from prelabel.quality.surroundings import Around, Surroundings
from prelabel.quality.weak_model import EmbeddedModel
from prelabel.store.keys import ProjectRef
from prelabel.versions import HASH_LENGTH

log = logging.getLogger(__name__)


class FileExamples:
    """A :class:`prelabel.hearing.ReviewSource` that holds its examples itself. Not thread-safe."""

    def __init__(self, questions: Sequence[Choices], examples: Sequence[Example]) -> None:
        self._questions = questions
        self._examples = examples

    def around(
        self,
        ref: ProjectRef,  # noqa: ARG002 - a file is one project
        questions: Sequence[Choices],  # noqa: ARG002 - which asks the same all along
        tickets: Sequence[Ticket],
        count: int,
        *,
        is_evaluation: bool = False,
    ) -> list[Around]:
        """For each ticket its examples, at most ``count``, its neighbours, and what its very text was labelled."""
        return self._surroundings.around(tickets, count, is_evaluation=is_evaluation)

    def weak(
        self,
        ref: ProjectRef,  # noqa: ARG002 - as above
        questions: Sequence[Choices],  # noqa: ARG002 - as above
        *,
        patiently: bool,  # noqa: ARG002 - nobody waits for a file's
        within_s: float = 0.0,  # noqa: ARG002 - as above
    ) -> EmbeddedModel:
        """The weak model, fitted when it is first asked."""
        return self._model

    @cached_property
    def _surroundings(self) -> Surroundings:
        index = SimilarityIndex()
        index.put_all({example.task_id: example.text for example in self._examples})
        tasks = {example.task_id: review_of(example, self._questions) for example in self._examples}
        return Surroundings(self._questions, index, tasks)

    @cached_property
    def _model(self) -> EmbeddedModel:
        model = EmbeddedModel(self._questions, self._examples)
        if len(model.shortages) < len(self._questions):  # else every answer says so
            for name, lack in model.shortages.items():
                log.warning("%r gets no label: %s", name, lack)
        return model


def as_local(project: Project, examples: Sequence[Example]) -> Project:
    """``project`` with a version of its own for every set of reviewed rows, since all of an answer rests on them."""
    depends_on = [project.version, [asdict(example) for example in examples]]
    digest = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:HASH_LENGTH]
    return replace(project, version=f"weak-model-{len(examples)}-{digest}")
