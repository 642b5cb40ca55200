"""What is to be known of LLM servers beyond one process, as this package needs it kept."""

from typing import Protocol


class Memory(Protocol):
    """Short texts by name, each for a while; where it is away, nothing is known and nothing kept. Calls may block."""

    def recall(self, name: str) -> str | None:
        """What was kept under ``name``, None if nothing or no longer."""

    def remember(self, name: str, value: str, for_s: float) -> None:
        """Keep ``value`` for so many seconds."""


class NoMemory:
    """For a process by itself."""

    def recall(self, name: str) -> str | None:  # noqa: ARG002
        return None

    def remember(self, name: str, value: str, for_s: float) -> None:
        """Nothing is kept."""
