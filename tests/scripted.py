"""Drives a flow with a list of literal replies and keeps every effect that it yielded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from compozy_store import PACKAGE
from keyweave.effects import ConnectionFailure, Effect, Flow, Send, Sleep
from keyweave.keyspace.keys import Keyspace, Namespace
from keyweave.read.strategy import BY_KEYS, BY_SCRIPT
from keyweave.store.context import Context
from keyweave.store.policy import Policy
from keyweave.store.retention import resolve

T = TypeVar("T")

HEAD = b'{"revision":1700000000000002,"created":1700000000000001,"expires":0,"op":"x"'
USER = HEAD + b',"id":"u","email":"a@x","role":"user"}'
LOST = ConnectionFailure("closed", "the connection broke", sent=True)
UNSENT = ConnectionFailure("connect", "refused", sent=False)


def row_and_referrers(
    row: bytes, *views: Sequence[tuple[bytes, bytes | None, Sequence[Sequence[bytes]]]]
) -> list[Any]:
    """A reply of `row_and_referrers`: a row, and for each view its members with their documents and referring rows."""
    return [
        row,
        *[
            [
                [member for member, _, _ in view],
                [document for _, document, _ in view],
                [names for _, _, lists in view for names in lists],
            ]
            for view in views
        ],
    ]


def declare_keys(context: Context, wanted: bool = True) -> None:
    """Let an open store read by declared keys only, as on a server that refuses other keys to scripts, or by script."""
    object.__setattr__(context, "strategy", BY_KEYS if wanted else BY_SCRIPT)


class Time:
    """A clock that moves only when a flow sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """A context with fixed time and randomness, and the effects of the last flow.

    Args:
        declared_keys: the server's scripts may only touch keys that the caller declares.
    """

    def __init__(self, *, declared_keys: bool = False, **policy: Any) -> None:
        self.time = Time()
        self.effects: list[Effect] = []
        self.context = Context(
            PACKAGE,
            Keyspace(Namespace("app", "v1", "test", "t"), PACKAGE.groups),
            Policy(**policy),
            "host:6379",
            resolve(PACKAGE, {}, {}),
            BY_KEYS if declared_keys else BY_SCRIPT,
            monotonic=self.time,
            wall=self.time,
            random=random.Random(7),
        )

    def run(self, flow: Flow[T], answers: Sequence[Any]) -> T:
        """Run a flow and return its result. Each `Send` takes the next reply; a `ConnectionFailure` is thrown."""
        left = list(answers)
        step: Any = None
        failure: BaseException | None = None
        while True:
            try:
                effect = flow.send(step) if failure is None else flow.throw(failure)
            except StopIteration as stop:
                assert not left, f"the flow ended before it took {left}"
                result: T = stop.value
                return result
            step, failure = None, None
            self.effects.append(effect)
            if isinstance(effect, Sleep):
                self.time.now += effect.seconds
            elif isinstance(effect, Send):
                assert left, f"the flow sent more than expected: {effect.commands}"
                answer = left.pop(0)
                if isinstance(answer, ConnectionFailure):
                    failure = answer
                else:
                    step = answer
            else:
                raise AssertionError(f"unexpected effect {effect}")

    def sent(self) -> list[tuple[Any, ...]]:
        """Every command that was sent, in order."""
        return [
            tuple(each) for effect in self.effects if isinstance(effect, Send) for each in effect.commands
        ]
