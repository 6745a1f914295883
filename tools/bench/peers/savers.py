"""LangGraph's checkpoints: the saver of examples/langgraph beside `RedisSaver` of langgraph-checkpoint-redis, on one server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import redis
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from agent_state.sync import Store
from keyweave_langgraph import KeyweaveSaver
from tests.servers.running import Running, new_namespace
from tools.bench.peers.results import Compared
from tools.bench.peers.timing import compare

OURS: Final = "KeyweaveSaver"
THEIRS: Final = "RedisSaver"

STEPS: Final = 10
"""Checkpoints of a thread."""
CHANNELS: Final = ("messages", "plan", "facts", "answer", "count")
"""Two of them change in each step."""

_FIELDS: Final = ("id", "ts", "channel_values", "channel_versions", "versions_seen")


@dataclass(frozen=True, slots=True)
class Saver:
    """A saver with its name.

    Attributes:
        name: how reports call it.
        saver: LangGraph's interface.
        lacks: calls that it does not have, with the reason.
    """

    name: str
    saver: Any
    lacks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a thread, the same on every side: ids are drawn once."""

    checkpoint: Checkpoint
    metadata: dict[str, Any]
    writes: list[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class _Case:
    """A call: how many steps the thread has before, what is timed, how its result is compared, whether the last step lacks its writes, and whether it only reads."""

    name: str
    steps: int
    make: Callable[[Any, str, list[Step]], Any]
    result: Callable[[Any, str, list[Step], Any], Any]
    without_writes: bool = False
    reads: bool = False


def compared_savers(
    running: Running, search: bool, checks: int, turns: int, seconds: float
) -> tuple[tuple[Compared, ...], dict[str, int], dict[str, str]]:
    """Compare and time the savers; return the calls, the keys that each leaves of a deleted thread, and the savers left out."""
    url, namespace = running.url, new_namespace("savers")
    with Store.open(url, namespace=namespace) as store, running.client() as client:
        savers = [Saver(OURS, KeyweaveSaver(store), {})]
        missing = {}
        if find_spec("langgraph.checkpoint.redis") is None:
            missing[THEIRS] = "langgraph-checkpoint-redis is not installed: `make peers` installs it"
        elif not search:
            missing[THEIRS] = "the server has no search module: `make peers` installs one that has"
        else:
            savers.append(_redis_saver(client))
        drawn: dict[str, list[Step]] = {}
        calls = tuple(
            compare(case.name, savers, partial(_once, case, drawn), checks, turns, seconds) for case in _CASES
        )
        return calls, {each.name: _remnants(each, client) for each in savers}, missing


def _redis_saver(client: redis.Redis) -> Saver:
    from langgraph.checkpoint.redis import RedisSaver

    saver = RedisSaver(redis_client=client)
    saver.setup()
    return Saver(THEIRS, saver, {})


def _once(case: _Case, drawn: dict[str, list[Step]], side: Saver, turn: int, wanted: bool) -> tuple[int, Any]:
    """Make a call of a turn: on a thread of its own if it writes, on one thread of the case if it only reads."""
    thread = case.name.replace(" ", "-") if case.reads else f"{case.name.replace(' ', '-')}-{turn}"
    steps = drawn.setdefault(thread, _steps())
    if not case.reads or side.saver.get_tuple(_config(thread)) is None:
        _play(side.saver, thread, steps[: case.steps], case.without_writes)
    started = time.perf_counter_ns()
    found = case.make(side.saver, thread, steps)
    took = time.perf_counter_ns() - started
    result = case.result(side.saver, thread, steps, found) if wanted else None
    if not case.reads:
        side.saver.delete_thread(thread)
    return took, result


def _steps() -> list[Step]:
    found: list[Step] = []
    for number in range(STEPS):
        checkpoint = empty_checkpoint()
        checkpoint["id"] = str(uuid6(clock_seq=number))
        last = (number, number + 1)
        checkpoint["channel_values"] = {name: f"{name} " * 20 for name in CHANNELS} | {
            "messages": [f"message {each}: {'word ' * 20}" for each in range(number)],
            "count": number,
        }
        checkpoint["channel_versions"] = {
            name: f"{last[1] if name in ('messages', 'count') else 1:032}.0" for name in CHANNELS
        }
        metadata: dict[str, Any] = {
            "source": "input" if number == 0 else "loop",
            "step": number,
            "parents": {},
        }
        found.append(
            Step(
                checkpoint, metadata, [("messages", "word " * 20), ("count", number), ("plan", {"next": "x"})]
            )
        )
    return found


def _config(thread: str, checkpoint: str | None = None) -> Any:
    place = {"thread_id": thread, "checkpoint_ns": ""}
    return {"configurable": place if checkpoint is None else place | {"checkpoint_id": checkpoint}}


def _put(saver: Any, thread: str, steps: list[Step], number: int) -> Any:
    step = steps[number]
    versions = step.checkpoint["channel_versions"]
    changed = versions if number == 0 else {name: versions[name] for name in ("messages", "count")}
    before = steps[number - 1].checkpoint["id"] if number else None
    return saver.put(_config(thread, before), step.checkpoint, step.metadata, changed)


def _put_writes(saver: Any, thread: str, steps: list[Step], number: int) -> None:
    step = steps[number]
    saver.put_writes(_config(thread, step.checkpoint["id"]), step.writes, f"task-{number}")


def _play(saver: Any, thread: str, steps: list[Step], without_writes: bool = False) -> None:
    """Store steps; the last one possibly without its writes."""
    for number in range(len(steps)):
        _put(saver, thread, steps, number)
        if not without_writes or number < len(steps) - 1:
            _put_writes(saver, thread, steps, number)


def _plain(found: Any) -> Any:
    """A checkpoint with what both savers store. Numbers of steps and JSON are alike; the order of writes is that of their tasks."""
    if found is None:
        return None
    return {
        "config": found.config["configurable"],
        "checkpoint": {name: found.checkpoint[name] for name in _FIELDS},
        "metadata": dict(found.metadata),
        "parent": found.parent_config and found.parent_config["configurable"],
        "writes": sorted(map(repr, found.pending_writes or ())),
    }


def _got(saver: Any, thread: str, steps: list[Step], found: Any) -> Any:
    return _plain(found)


def _listed(saver: Any, thread: str, steps: list[Step], found: Any) -> Any:
    return [_plain(each) for each in found]


def _latest(saver: Any, thread: str, steps: list[Step], found: Any) -> Any:
    return _plain(saver.get_tuple(_config(thread)))


def _gone(saver: Any, thread: str, steps: list[Step], found: Any) -> Any:
    return [_plain(saver.get_tuple(_config(thread))), len(list(saver.list(_config(thread))))]


_CASES: Final = (
    _Case("put", 4, lambda saver, thread, steps: _put(saver, thread, steps, 4), _latest),
    _Case(
        "put_writes (3 writes)",
        4,
        lambda saver, thread, steps: _put_writes(saver, thread, steps, 3),
        _latest,
        without_writes=True,
    ),
    _Case(
        "get_tuple (latest)",
        STEPS,
        lambda saver, thread, steps: saver.get_tuple(_config(thread)),
        _got,
        reads=True,
    ),
    _Case(
        "get_tuple (by id)",
        STEPS,
        lambda saver, thread, steps: saver.get_tuple(_config(thread, steps[4].checkpoint["id"])),
        _got,
        reads=True,
    ),
    _Case(
        f"list (a thread of {STEPS})",
        STEPS,
        lambda saver, thread, steps: list(saver.list(_config(thread))),
        _listed,
        reads=True,
    ),
    _Case(
        "list (filter: source)",
        STEPS,
        lambda saver, thread, steps: list(saver.list(_config(thread), filter={"source": "input"})),
        _listed,
        reads=True,
    ),
    _Case(
        f"delete_thread ({STEPS} checkpoints)",
        STEPS,
        lambda saver, thread, steps: saver.delete_thread(thread),
        _gone,
    ),
)


def _remnants(side: Saver, client: redis.Redis) -> int:
    """The keys that have a thread's name after the thread was deleted."""
    thread = "remnants"
    _play(side.saver, thread, _steps())
    side.saver.delete_thread(thread)
    return sum(1 for _ in client.scan_iter(f"*{thread}*", count=1000))
