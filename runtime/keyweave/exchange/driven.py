"""Flows whose effects another function carries out, so that it can look at what they send and at what is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from keyweave.effects import Effect, Flow

T = TypeVar("T")


def driven(flow: Flow[T], carry_out: Callable[[Effect], Flow[Any]]) -> Flow[T]:
    """Run a flow, and let `carry_out` yield what becomes of each of its effects.

    Args:
        carry_out: returns the answer to an effect; what it raises is thrown into the flow.
    """
    answer: Any = None
    failure: BaseException | None = None
    try:
        while True:
            try:
                effect = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            answer = failure = None
            try:
                answer = yield from carry_out(effect)
            except GeneratorExit:
                flow.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the flow decides what to do about it
                failure = error
    finally:
        # The frame and the exception's traceback refer to each other: only the garbage collector would free them.
        failure = None
