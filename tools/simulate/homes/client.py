"""Clients: each runs its operations one behind another, with the real flows. After a crash it goes on with the next one."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final

from keyweave.effects import Effect, Flow, Send, Sleep
from keyweave.errors import KeyweaveError, OutcomeUnknownError
from keyweave.homes.claim import vacate
from keyweave.homes.home import Homed
from keyweave.homes.write import delete_homed, find_homed, insert_homed, replace_homed
from keyweave.store.context import Context
from tools.simulate.homes.scenario import Operation
from tools.simulate.homes.site import Site


@dataclass(slots=True)
class Act:
    """One operation as it went.

    Attributes:
        token: unique; the row that it writes carries it.
        began, ended: ticks; `ended` is None while it runs, and for ever after a crash.
        outcome: `ok`, `refused` (nothing was written), or `unknown`, as after a crash.
        result: of `get` and `vacate`, and whether `delete` and `recode` found a row.
    """

    operation: Operation
    token: str
    began: int
    ended: int | None = None
    outcome: str = "unknown"
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class History:
    """Every operation of a run, in the order in which they began."""

    acts: list[Act] = field(default_factory=list)
    ticks: int = 0

    def tick(self) -> int:
        """The next moment."""
        self.ticks += 1
        return self.ticks


class Client:
    """One process with one thread."""

    def __init__(
        self, number: int, site: Site, history: History, context: Context, operations: tuple[Operation, ...]
    ) -> None:
        self.number: Final = number
        self._site: Final = site
        self._history: Final = history
        self._context: Final = context
        self._waiting: Final = list(reversed(operations))
        self._operation = 0
        self._sent = 0
        self._flow: Flow[Any] | None = None

    def next(self) -> None:
        """Begin the next operation after its pause."""
        if self._waiting:
            timeline = self._site.timeline
            timeline.at(timeline.now + self._waiting[-1].pause, self._begin)

    def _begin(self) -> None:
        operation = self._waiting.pop()
        self._operation, self._sent = self._operation + 1, 0
        act = Act(operation, f"{self.number}-{self._operation}", self._history.tick())
        self._history.acts.append(act)
        self._flow = run(self._context, self._site, act)
        self._go(act, None, None)

    def _go(self, act: Act, answer: Any, failure: BaseException | None) -> None:
        """Run the flow until it wants something of the world."""
        flow, timeline = self._flow, self._site.timeline
        if flow is None:
            return
        try:
            effect: Effect = flow.send(answer) if failure is None else flow.throw(failure)
        except StopIteration:
            self._end(act, "ok", None)
        except OutcomeUnknownError as error:
            self._end(act, "unknown", error)
        except KeyweaveError as error:
            self._end(act, "refused", error)
        else:
            if isinstance(effect, Sleep):
                timeline.at(timeline.now + int(effect.seconds * 1_000_000) + 1, self._go, act, None, None)
                return
            assert isinstance(effect, Send)
            self._sent += 1
            place = (self.number, self._operation, self._sent)

            def learn(found: Any) -> None:
                if isinstance(found, BaseException):
                    self._go(act, None, found)
                else:
                    self._go(act, found, None)

            self._site.send(effect.commands, place, learn, self._crash)

    def _end(self, act: Act, outcome: str, error: BaseException | None) -> None:
        act.ended, act.outcome, act.error = self._history.tick(), outcome, error
        self._flow = None
        self.next()

    def _crash(self) -> None:
        """End at once; what was sent still arrives. The flow is not closed, because a process that ended closes nothing."""
        self._site.ended.append(self._flow)
        self._flow = None
        self.next()


def run(context: Context, site: Site, act: Act) -> Generator[Effect, Any, None]:
    """The flow of one operation."""
    item, operation = context.package.entities["Item"], act.operation
    codec, key = context.codec(item), operation.key
    if operation.kind == "create":
        record = item.record(id=key, token=act.token, code=operation.code, state="open")
        yield from insert_homed(context, site.partitions[operation.partition], codec.prepare(record, None))
    elif operation.kind == "delete":
        act.result = yield from delete_homed(context, item, key)
    elif operation.kind == "get":
        found = yield from find_homed(context, item, key)
        act.result = codec.snapshot_of(found[1]).token if found is not None else None
    elif operation.kind == "vacate":
        thing = Homed(item, "code", operation.code) if operation.code else Homed(item, "", key)
        act.result = yield from vacate(context, thing)
    else:
        found = yield from find_homed(context, item, key)
        if found is not None:
            partition, stored = found
            record = codec.fresh_record(stored)
            record.code, record.token = operation.code, act.token
            written = yield from replace_homed(context, partition, stored, codec.prepare(record, stored))
            act.result = written is not None
