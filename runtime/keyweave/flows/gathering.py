"""Several whole lists of one view in a few round trips: what a loop over lists would read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from keyweave.context import Context
from keyweave.effects import Flow
from keyweave.entity import Entity
from keyweave.flows.asking import ask_scripts, undeclared
from keyweave.flows.handshaking import require_built
from keyweave.flows.paging import all_pages, page_call, read_reply
from keyweave.page import Place
from keyweave.record import Record

R = TypeVar("R", bound=Record)

AT_ONCE: Final = 64
"""Lists in one pipeline."""

STRETCH: Final = 200
"""Most records of one list in one reply, so that no reply outgrows what a server may buffer for a client."""


def gather(
    context: Context, entity: Entity[R], view: str, values: Sequence[tuple[str, ...]], *, newest: bool
) -> Flow[list[list[R]]]:
    """Every row of each of several lists of a view, in the order of `values`.

    Args:
        values: key texts of the view's fields, one tuple for each list.
        newest: highest score first.
    """
    if context.unbuilt:
        yield from require_built(context, entity, view)
    lists: dict[int, list[R]] = {number: [] for number in range(len(values))}
    if context.unit is None and not context.declared_only:
        waiting: list[tuple[int, Place | None]] = [(number, None) for number in lists]
        while waiting and not context.declared_only:
            wave, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            calls = tuple(
                page_call(context, entity, view, values[number], STRETCH, place, newest)
                for number, place in wave
            )
            replies: list[Any] = yield from ask_scripts(context, "page", calls)
            for (number, _), reply in zip(wave, replies, strict=True):
                if undeclared(context, reply):
                    break
                found, place = yield from read_reply(context, entity, view, values[number], newest, reply)
                lists[number] += found
                if place is not None:
                    waiting.append((number, place))
    if context.unit is not None or context.declared_only:
        for number, each in enumerate(values):
            lists[number] = yield from all_pages(context, entity, view, each, newest=newest)
    return list(lists.values())
