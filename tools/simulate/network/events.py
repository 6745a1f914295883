"""What happens to the server: restarts, failovers, refusals, clocks that jump, pauses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from tools.simulate.history import History, Loss
from tools.simulate.network.network import Network
from tools.simulate.network.timeline import Timeline
from tools.simulate.network.trace import Trace
from tools.simulate.scenario import SECOND, Event
from tools.simulate.server.database import Database
from tools.simulate.server.node import REFUSALS, Entry, Node

_REGISTER: Final = re.compile(rb"\}:((?:Item|Box):[^:]+)$")
_REVISION: Final = re.compile(rb'\{"revision":(\d+)')
_OP: Final = re.compile(rb'"op":"([^"]*)"')
_APPLIED: Final = re.compile(rb"(\d+) OK")
_TOKEN: Final = re.compile(rb'"token":"([^"]*)"')


class Events:
    """Lets the events of a scenario happen."""

    def __init__(
        self, timeline: Timeline, node: Node, network: Network, history: History, trace: Trace
    ) -> None:
        self._timeline = timeline
        self._node = node
        self._network = network
        self._history = history
        self._trace = trace
        self._up_at = 0
        self._ready_at = 0

    def schedule(self, events: Iterable[Event]) -> None:
        """Let these happen at their moments."""
        for event in events:
            self._timeline.at(event.at, self._happen, event)

    def heal(self) -> None:
        """Whatever is wrong with the server ends."""
        self._node.full = self._node.readonly = self._node.loading = self._network.down = False
        self._node.refusing = None

    def _happen(self, event: Event) -> None:
        now, node, network = self._timeline.now, self._node, self._network
        self._trace.note(now, None, event.kind)
        if self._trace.recording:
            length = f"{event.span / SECOND:.3f} s" if event.kind not in ("flush", "kill links") else ""
            self._trace.say(now, None, f"SERVER {event.kind} {length}")
        if event.kind in ("restart", "failover"):
            network.cut_links()
            self._lose(event.tail)
            network.down = True
            if event.kind == "failover":
                node.offset += event.span // 2 if event.number & 1 else -event.span // 2
            self._up_at = max(self._up_at, now + event.span)
            self._timeline.at(now + event.span, self._up, event)
        elif event.kind == "flush":
            node.flush_scripts()
        elif event.kind == "full":
            node.full = True
            self._timeline.at(now + event.span, self._end, "full")
        elif event.kind == "readonly":
            node.readonly = True
            self._timeline.at(now + event.span, self._end, "readonly")
        elif event.kind == "refuse":
            node.refusing = REFUSALS[event.number % len(REFUSALS)]
            self._timeline.at(now + event.span, self._end, "refusing")
        elif event.kind == "clock":
            node.offset += event.span
        elif event.kind == "pause":
            network.pause()
            self._timeline.at(now + event.span, network.resume, event.number)
        else:
            network.cut_links()

    def _up(self, event: Event) -> None:
        if self._timeline.now < self._up_at:
            return
        self._network.down = False
        if event.kind == "restart":
            self._node.loading = True
            self._timeline.at(self._timeline.now + event.span // 4, self._end, "loading")

    def _end(self, state: str) -> None:
        setattr(self._node, state, None if state == "refusing" else False)
        if self._trace.recording:
            self._trace.say(self._timeline.now, None, f"SERVER is no longer {state}")

    def _lose(self, tail: int) -> None:
        """Go back by the newest `tail` microseconds of the file; never into what stood there before the run."""
        file, since = self._node.file, self._timeline.now - tail
        keep = len(file)
        while tail and keep and file[keep - 1].at > since and file[keep - 1].tag is not None:
            keep -= 1
        lost = self._node.lose_tail(keep)
        if lost:
            shared = self._history.shared
            tokens = frozenset(token for entry in lost for token in _tokens(entry, shared))
            registers = registers_of(self._node.database)
            written = frozenset(
                token for entry in lost for token in _tokens(entry, shared) if _writes(entry, token)
            )
            loss = Loss(
                tick=self._history.tick(),
                tokens=tokens,
                written=written,
                registers=registers,
                kept=keep,
                revisions=revisions_in(lost),
                answers=answers_in(lost),
                applied=frozenset(
                    token for entry in lost if answers_in([entry]) for token in _tokens(entry, shared)
                ),
            )
            self._history.losses.append(loss)
            if self._trace.recording:
                names = ", ".join(sorted(tokens))
                self._trace.say(self._timeline.now, None, f"SERVER lost {len(lost)} steps, of {names}")


def _tokens(entry: Entry, shared: Mapping[bytes, tuple[str, ...]]) -> set[str]:
    """The operations that made a step of the file."""
    process, task, operation, _ = entry.tag
    found = {f"{process}-{task}-{operation}"}
    for effect in entry.effects:
        match = _OP.search(effect[2]) if effect[0] == "put" else None
        if match is not None:
            found.update(shared.get(match[1], ()))
    return found


def _writes(entry: Entry, token: str) -> bool:
    """Whether a step of the file wrote the token of an operation."""
    word = f'"{token}"'.encode()
    return any(effect[0] == "put" and word in effect[2] for effect in entry.effects)


def revisions_in(entries: Iterable[Entry]) -> frozenset[bytes]:
    """The revisions of the documents that steps of a file wrote."""
    texts = (effect[2] for entry in entries for effect in entry.effects if effect[0] == "put")
    return frozenset(match[1] for text in texts if (match := _REVISION.match(text)) is not None)


def answers_in(entries: Iterable[Entry]) -> frozenset[tuple[bytes, bytes, bytes]]:
    """The applied plans whose answers steps of a file put into ledgers: ledger, slot and number."""
    return frozenset(
        (effect[1], effect[2], match[1])
        for entry in entries
        for effect in entry.effects
        if effect[0] == "set_field" and b":@ledger:" in effect[1]
        if (match := _APPLIED.match(effect[3])) is not None
    )


def written_together(entries: Iterable[Entry], shared: Mapping[bytes, tuple[str, ...]]) -> frozenset[str]:
    """The operations whose effects a document has that steps of a file wrote, where several tasks of a process wrote together."""
    texts = (effect[2] for entry in entries for effect in entry.effects if effect[0] == "put")
    ops = (match[1] for text in texts if (match := _OP.search(text)) is not None)
    return frozenset(token for op in ops for token in shared.get(op, ()))


def registers_of(database: Database) -> dict[str, str]:
    """The token of every row that is a register."""
    found = {}
    for key, value in database.values.items():
        match = _REGISTER.search(key)
        if match is not None and isinstance(value, bytes):
            token = _TOKEN.search(value)
            if token is not None:
                found[match[1].decode()] = token[1].decode()
    return found
