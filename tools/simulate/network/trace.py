"""The trace of a run: a digest of every step, and the steps themselves in words when a person is to read them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple


class Step(NamedTuple):
    """One step.

    Attributes:
        at: virtual microseconds.
        who: process and task, or the server for None.
        text: in words.
    """

    at: int
    who: tuple[int, int] | None
    text: str


class Trace:
    """What happened.

    Attributes:
        steps: in words; empty unless they are recorded.
        recording: whether they are.
    """

    __slots__ = ("_digest", "recording", "steps")

    def __init__(self, *, recording: bool) -> None:
        self.recording: Final = recording
        self.steps: Final[list[Step]] = []
        self._digest: Final = blake2b(digest_size=12)

    def note(self, at: int, who: tuple[int, ...] | None, what: str) -> None:
        """Add to the digest."""
        self._digest.update(f"{at} {who} {what}\n".encode())

    def say(self, at: int, who: tuple[int, ...] | None, text: str) -> None:
        """Add a step in words; called only while recording. How a store is opened is left out."""
        if who is not None and who[2] < 1:
            return
        self.steps.append(Step(at, (who[0], who[1]) if who is not None else None, text))

    @property
    def digest(self) -> str:
        """Equal for equal runs."""
        return self._digest.hexdigest()
