"""`make bench-trips`: rows that another process wrote, by what the runtime does and by prototypes that spare a trip, in turns.

Every turn calls each way once, on a row of its own, so what the machine does hits all of them. The rows are those of the engine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from compozy_store import APIKey, Component, Role, Status, TaskState, User, WorkflowState
from compozy_store.sync import Store
from keyweave.effects import Send
from tests.servers.running import new_namespace, server_url
from tools.bench.trips import deletes, upserts
from tools.bench.trips.ways import Measured, Way, measured, table

TURNS: Final = 1_500
_STATES: Final = (Status.RUNNING, Status.PAUSED, Status.WAITING)
_OUTPUT: Final = {"text": "x" * 400, "numbers": list(range(20))}


class Rows:
    """The rows of one comparison, and the ways to write them.

    Args:
        store: an open store. It remembers rows as ever; what has to be unknown is forgotten before each call.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._context = store.session.context
        self._run = store.session.run
        self._upsert = self._run(upserts.load_script(self._context, upserts.SCRIPT))
        self._delete = self._run(upserts.load_script(self._context, deletes.SCRIPT))
        store.workflow_states.upsert(
            WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
        )
        store.task_states.upsert(self._task("parent", 0, parent=None))
        store.users.upsert(_user("owner"))

    def ways(self) -> list[Way]:
        """Return all ways, those of a case one after another, first what the runtime does."""
        return [*self._upserts(), *self._deletes(), *self._reads()]

    def _task(self, key: str, number: int, parent: str | None = "parent", task: str = "step") -> TaskState:
        return TaskState(
            task_exec_id=key,
            task_id=task,
            workflow_exec_id="w",
            workflow_id="f",
            component=Component.AGENT,
            status=_STATES[number % 3],
            parent_state_id=parent,
            agent_id="agent",
            action_id="action",
            output={**_OUTPUT, "number": number},
        )

    def _forget(self, name: str, key: str) -> None:
        self._context.state.recent.drop(name, key)

    def _upserts(self) -> Iterator[Way]:
        tasks, proofs = self._store.task_states, (upserts.DECODE, upserts.DIGEST)

        def unknown(key: str, *, moved: bool = False) -> Callable[[int], TaskState]:
            def prepare(number: int) -> TaskState:
                self._forget("TaskState", key)
                return self._task(key, number, task=f"step-{number % 2}" if moved else "step")

            return prepare

        def new(key: str) -> Callable[[int], TaskState]:
            def prepare(number: int) -> TaskState:
                tasks.discard(key)
                return self._task(key, number)

            return prepare

        def either(proof: str) -> Callable[[TaskState], bool]:
            return lambda task: self._run(upserts.upsert(self._context, task, proof, self._upsert))

        case = "upsert of a row written elsewhere"
        yield Way(case, "an insert, then a guarded plan (built)", unknown("two"), tasks.upsert)
        for proof in proofs:
            yield Way(case, proof, unknown(proof), either(proof))
        yield Way(
            case, "built, and the row is remembered", lambda number: self._task("known", number), tasks.upsert
        )
        case = "the same, and its task differs"
        yield Way(
            case, "an insert, then a guarded plan (built)", unknown("two-moved", moved=True), tasks.upsert
        )
        for proof in proofs:
            yield Way(case, proof, unknown(f"{proof}-moved", moved=True), either(proof))
        case = "upsert of a new row"
        yield Way(case, "an insert (built)", new("two-new"), tasks.upsert)
        for proof in proofs:
            yield Way(case, proof, new(f"{proof}-new"), either(proof))

    def _deletes(self) -> Iterator[Way]:
        users, keys = self._store.users, self._store.api_keys

        def user(key: str, number_of_keys: int) -> Callable[[int], str]:
            def prepare(_: int) -> str:
                users.upsert(_user(key))
                for number in range(number_of_keys):
                    keys.upsert(_key(f"{key}-{number}", key))
                self._forget("User", key)
                return key

            return prepare

        def declared(key: str) -> bool:
            return self._run(deletes.delete_declared(self._context, key, self._delete))

        for number, case in ((0, "delete of a user without keys"), (3, "delete of a user with 3 keys")):
            yield Way(case, "built", user(f"today-{number}", number), users.delete)
            yield Way(case, "declared", user(f"declared-{number}", number), declared)

    def _reads(self) -> Iterator[Way]:
        keys = self._store.api_keys

        def present(key: str) -> Callable[[int], str]:
            def prepare(_: int) -> str:
                keys.upsert(_key(key, "owner"))
                self._forget("APIKey", key)
                return key

            return prepare

        def remembering(call: Callable[[str], Any] | None) -> Callable[[str], None]:
            def read(key: str) -> None:
                deletes.remember_read(self._context, "APIKey", key, keys.get(key))
                if call is not None:
                    known = self._context.state.recent.get("APIKey", key)
                    assert known is not None
                    self._context.codecs["APIKey"].snapshot_of(known)
                    call(key)

            return read

        def plain(call: Callable[[str], Any]) -> Callable[[str], None]:
            def read(key: str) -> None:
                keys.get(key)
                call(key)

            return read

        case = "delete of an API key"
        yield Way(case, "built", present("today"), keys.delete)

        def known(_: int) -> str:
            keys.upsert(_key("known", "owner"))
            return "known"

        yield Way(case, "built, and the row is remembered", known, keys.delete)
        for case, call in (("get and delete", keys.delete), ("get and touch", keys.touch_last_used)):
            yield Way(case, "built", present("today"), plain(call))
            yield Way(case, "read is remembered", present("read"), remembering(call))
        case = "get"
        yield Way(case, "built", present("today"), keys.get)
        yield Way(case, "read is remembered", present("read"), remembering(None))


def _user(key: str) -> User:
    return User(id=key, email=f"{key}@example.com", role=Role.USER)


def _key(key: str, owner: str) -> APIKey:
    return APIKey(id=key, user_id=owner, hash=b"h" * 32, fingerprint=key.encode(), prefix=key)


def compare(turns: int) -> list[Measured]:
    """Time every way, in so many turns, on the server under test."""
    with Store.open(server_url(), namespace=new_namespace("trips")) as store:
        ways = Rows(store).ways()
        for way in ways:
            way.call(way.prepare(0))
            way.trips = _trips(store, way)
        for number in range(turns):
            for offset in range(len(ways)):
                _turn(ways[(number + offset) % len(ways)], number)
        return measured(ways, [_server(store, way, min(turns, 200)) for way in ways])


def _turn(way: Way, number: int) -> None:
    argument = way.prepare(number + 2)
    processor, started = time.process_time_ns(), time.perf_counter_ns()
    way.call(argument)
    way.times.append(time.perf_counter_ns() - started)
    way.processor.append(time.process_time_ns() - processor)


def _trips(store: Store, way: Way) -> int:
    """Return the number of exchanges of a call."""
    shell, counted = store.session.shell, 0
    argument, exchange = way.prepare(1), shell.channel.exchange

    def counting(*arguments: Any) -> Any:
        nonlocal counted
        counted += 1
        return exchange(*arguments)

    channel: Any = shell.channel
    channel.exchange = counting
    try:
        way.call(argument)
    finally:
        del channel.exchange
    return counted


def _server(store: Store, way: Way, turns: int) -> float:
    """Return the microseconds that the server works on a call, by its own statistics of commands."""

    def spent() -> float:
        def flow() -> Any:
            (reply,) = yield Send((("INFO", "commandstats"),), None, 1)
            return reply

        text = bytes(store.session.shell.run(flow())).decode()
        lines = [line for line in text.splitlines() if line.startswith(("cmdstat_evalsha:", "cmdstat_get:"))]
        own = [line for line in lines if line.startswith("cmdstat_evalsha:")] or lines
        return sum(float(line.split("usec=")[1].split(",")[0]) for line in own)

    taken = []
    for number in range(turns):
        argument = way.prepare(number + 2)
        before = spent()
        way.call(argument)
        taken.append(spent() - before)
    return statistics.median(taken)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("turns", nargs="?", type=int, default=TURNS)
    print("\n".join(table(compare(parser.parse_args().turns))))


if __name__ == "__main__":
    main()
