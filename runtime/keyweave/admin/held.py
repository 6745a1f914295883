"""A namespace is held while a command writes into it in several steps: no repartition begins meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keyweave.repartition.hold import Hold
from keyweave.sync.session import Session


@contextmanager
def held(session: Session, what: str) -> Iterator[Hold]:
    """Hold the namespace of a session for a command; its steps run by `Hold.keep`.

    Raises:
        ConfigurationError: partitions are being doubled.
    """
    hold = Hold(session.context, what)
    session.shell.run(hold.take())
    try:
        yield hold
    finally:
        session.shell.run(hold.release())
