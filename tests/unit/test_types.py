"""Of the values that have behaviour."""

from prelabel.core.types import LabelSource


def test_only_what_a_person_decided_counts_as_reviewed() -> None:
    reviewed = {source for source in LabelSource if source.is_person}

    assert reviewed == {LabelSource.PERSON, LabelSource.PERSON_BLIND}
