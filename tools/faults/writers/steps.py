"""Steps: one implementation of an operation for both flavours.

An operation is a generator that yields the results of calls of a store. Blocking calls have made their result already; that
of an asyncio call is awaited by the driver.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

Steps: TypeAlias = Generator[Any, Any, Any]


def run_blocking(steps: Steps) -> Any:
    """Run steps of a blocking store, and return their result."""
    value: Any = None
    while True:
        try:
            value = steps.send(value)
        except StopIteration as done:
            return done.value


async def run_waiting(steps: Steps) -> Any:
    """Run steps of an asyncio store, and return their result."""
    value: Any = None
    failure: BaseException | None = None
    while True:
        try:
            value = steps.send(value) if failure is None else steps.throw(failure)
        except StopIteration as done:
            return done.value
        failure = None
        if inspect.isawaitable(value):
            try:
                value = await value
            except BaseException as error:  # noqa: BLE001 - the steps decide what to do about it
                failure = error


def closure(flavour: str, function: Callable[[Any], Steps]) -> Callable[[Any], Any]:
    """Return the function of a transaction that runs steps with the transaction's repositories."""
    if flavour == "sync":
        return lambda transaction: run_blocking(function(transaction))

    async def waiting(transaction: Any) -> Any:
        return await run_waiting(function(transaction))

    return waiting
