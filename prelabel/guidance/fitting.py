"""Which snippets of the guidelines fit a ticket: by the similarity that finds its examples.

Any two texts of a language are somewhat alike, the more so the fewer texts there are to tell common words from rare
ones. So a snippet must be clearly more alike than most. With the 121 reviewed sample tickets and a guideline of ten
snippets, two thirds of what this lets pass were about the ticket's own label; of the three nearest, a quarter.
"""

import threading
from collections.abc import Sequence

from prelabel.core.types import Note
from prelabel.quality.similarity import SimilarityIndex

MOST_PER_TICKET = 3
LEAST_SIMILARITY = 0.15
"""Cosine below which a snippet has nothing to do with a ticket."""
LEAST_LEAD = 1.5
"""How many times more alike than the snippet in the middle of all."""
FEW = 4
"""With fewer snippets there is no middle that says anything."""
FURTHEST = 64
"""Neighbours looked at: of many snippets, the place of the middle one."""


class Snippets:
    """The snippets of a folder; thread-safe."""

    def __init__(self, notes: Sequence[Note]) -> None:
        self._notes = notes
        self._index = SimilarityIndex()
        self._index.put_all({number: f"{note.name}\n{note.text}" for number, note in enumerate(notes)})
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._notes)

    def fitting(self, texts: Sequence[str]) -> list[list[Note]]:
        """For each text at most ``MOST_PER_TICKET`` snippets, the most fitting first."""
        middle = min(len(self._notes) // 2, FURTHEST)
        with self._lock:
            found = self._index.nearest(texts, max(MOST_PER_TICKET, middle + 1))
        chosen = []
        for near in found:
            usual = near[middle][1] if len(self._notes) >= FEW and middle < len(near) else 0.0
            least = max(LEAST_SIMILARITY, LEAST_LEAD * usual)
            chosen.append([self._notes[number] for number, alike in near[:MOST_PER_TICKET] if alike >= least])
        return chosen
