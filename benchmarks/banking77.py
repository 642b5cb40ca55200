"""BANKING77 (Casanueva et al. 2020, arXiv 2003.04807): 13,083 queries of a bank's customers, each of one of 77 intents.

Read from a directory that holds the authors' ``train.csv`` and ``test.csv`` (columns ``text``, ``category``); it is no
part of this repository.
"""

import argparse
import csv
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

DIRECTORY = Path("../shared/data/banking77")
"""Where it is looked for by default: beside the repository."""


@dataclass(frozen=True, slots=True)
class Query:
    """One customer's query and its intent."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Banking77:
    """Both files as published; their rows stand in the order of the labels."""

    train: Sequence[Query]
    test: Sequence[Query]

    @classmethod
    def read(cls, directory: Path) -> "Banking77":
        """:raises SystemExit: it is not there."""
        missing = [name for name in ("train.csv", "test.csv") if not (directory / name).is_file()]
        if missing:
            raise SystemExit(f"{directory} has no {' and no '.join(missing)}: name the directory with --data")
        return cls(_read(directory / "train.csv"), _read(directory / "test.csv"))

    @property
    def labels(self) -> list[str]:
        """Each once, in the order of ``train.csv``."""
        return list(dict.fromkeys(query.label for query in self.train))

    @property
    def label_config(self) -> str:
        """What a Label Studio project for it would have."""
        choices = "".join(f"<Choice value={quoteattr(label)}/>" for label in self.labels)
        return f'<View><Text name="text" value="$text"/><Choices name="intent" toName="text">{choices}</Choices></View>'

    def first_of_each(self, count: int) -> tuple[list[Query], list[Query]]:
        """The first ``count`` rows of each label in ``train.csv``, and all its other rows."""
        by_label = defaultdict[str, list[Query]](list)
        for query in self.train:
            by_label[query.label].append(query)
        first = [query for queries in by_label.values() for query in queries[:count]]
        return first, [query for queries in by_label.values() for query in queries[count:]]

    def draw(self, count: int, seed: int = 0) -> list[Query]:
        """``count`` rows of ``test.csv`` in a random order, as tickets come in.

        :raises SystemExit: there are fewer.
        """
        if count > len(self.test):
            raise SystemExit(f"test.csv has {len(self.test)} tickets, not {count}")
        return random.Random(seed).sample(self.test, count)  # noqa: S311  a draw is no secret


def add_option(options: argparse.ArgumentParser) -> None:
    """``--data``, for every benchmark the same."""
    options.add_argument("--data", type=Path, default=DIRECTORY, metavar="DIR", help="BANKING77 [%(default)s]")


def _read(path: Path) -> list[Query]:
    with path.open(encoding="utf-8", newline="") as file:
        return [Query(row["text"], row["category"]) for row in csv.DictReader(file)]
