"""A healthy store with rows of every entity, and its keys as redis-cli shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from compozy_store import APIKey, Role, Status, User
from compozy_store.sync import Store
from keyweave.effects import Command, Flow, Send
from keyweave.integrity import check as check_flows
from keyweave.integrity import repair as repair_flows
from keyweave.integrity.drift import Drift, Kind, Report
from keyweave.integrity.remedy import Repairs
from keyweave.keyspace.keys import Partition
from tests.contents import content, names
from tests.harness import run, task
from tests.servers.running import new_namespace, server_url

DAY = timedelta(days=1)


class Site:
    """A store, with shortcuts that damage it and show the result."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.context = store.session.context
        self.auth: Partition = self.context.keyspace.partition("auth")
        self.execution: Partition = self.context.keyspace.partition("execution")

    def send(self, *commands: Command) -> list[Any]:
        """Raw commands in one pipeline."""

        def flow() -> Flow[list[Any]]:
            replies: list[Any] = yield Send(commands)
            return replies

        return self.store.session.run(flow())

    def view(self, entity: str, view: str, *values: str) -> str:
        """The key of a view."""
        place = self.auth if entity in ("User", "APIKey") else self.execution
        return place.view(entity, view, values)

    def document(self, entity: str, key: str) -> str:
        """The key of a document."""
        place = self.auth if entity in ("User", "APIKey") else self.execution
        return place.document(entity, key)

    def check(self, **options: Any) -> tuple[Report, list[Drift]]:
        """The report of a check, and everything that it found."""
        found: list[Drift] = []
        report = self.store.session.run(check_flows.check(self.context, on_drift=found.extend, **options))
        assert Counter((finding.where, finding.kind) for finding in found) == report.drift
        return report, found

    def ask(self, *command: Any) -> Any:
        """The reply to one command."""
        return self.send(command)[0]

    def kinds(self) -> set[Kind]:
        """The kinds of drift that there are."""
        return {drift.kind for drift in self.check()[0].drift}

    def reindex(self, **options: Any) -> Repairs:
        """Repair, and return what was done."""
        repairs = Repairs()
        self.store.session.run(repair_flows.reindex(self.context, repairs, **options))
        return repairs

    def names(self) -> list[str]:
        """Every key of the namespace; none here has bytes that are no text."""
        return sorted(name.decode() for name in names(self.ask, self.context.keyspace.pattern()))

    def contents(self) -> dict[str, Any]:
        """Every key but clocks, ledgers and what was set aside, with type, value and native TTL."""
        found = {}
        for key in self.names():
            if not any(f"}}:@{word}" in key for word in ("clock", "ledger", "aside")):
                found[key] = self.value(key)
        return found

    def value(self, key: str) -> Any:
        """Type, value and native TTL of a key."""
        return content(self.ask, key)

    def data(self) -> Counter[bytes]:
        """Every string of the namespace that is no clock or mark: documents, wherever they are now."""
        values = [self.value(key) for key in self.names() if "}:@" not in key or "}:@aside" in key]
        return Counter(value for kind, value, _ in values if kind == b"string")


@contextmanager
def healthy(name: str, **options: Any) -> Iterator[Site]:
    """A store of its own with users, keys, executions and tasks; some rows have a deadline."""
    retention = {"TaskState": 14 * DAY, "WorkflowState": 60 * DAY}
    options = {"moment": 0.001, "retention": retention, **options}
    with Store.open(server_url(), namespace=new_namespace(name), **options) as store:
        for number in range(4):
            store.users.create(
                User(id=f"u{number}", email=f"U{number}@x", role=Role.ADMIN if number == 0 else Role.USER)
            )
            store.api_keys.create(
                APIKey(
                    id=f"k{number}",
                    user_id=f"u{number % 2}",
                    hash=b"planted-hash",
                    fingerprint=b"planted-print-%d" % number,
                    prefix=f"p{number}",
                )
            )
        for key, status in (("w", Status.RUNNING), ("v", Status.RUNNING), ("over", Status.SUCCESS)):
            store.workflow_states.create(run(key, status))
        store.workflow_states.change("w", lambda row: setattr(row, "input", {"n": 1}))
        rows = [task("root"), task("child", "root"), task("second", "root", status=Status.FAILED)]
        rows += [task(f"t{number}", workflow="v", name=f"n{number}:%") for number in range(4)]
        rows += [task(f"d{number}", status=Status.SUCCESS) for number in range(3)]
        for row in rows:
            store.task_states.create(row)
        yield Site(store)
