"""What happens to single servers of several: they fail over and keep the data, lose scripts, change their clocks, refuse or pause."""

from __future__ import annotations

from typing import Final

from tools.simulate.history import History
from tools.simulate.network.events import Events
from tools.simulate.network.timeline import Timeline
from tools.simulate.network.trace import Trace
from tools.simulate.partitions.masters import Masters
from tools.simulate.partitions.network import SpreadNetwork
from tools.simulate.scenario import SECOND, Event
from tools.simulate.server.node import REFUSALS

KINDS: Final = ("failover", "flush", "clock", "pause", "kill links", "full", "readonly", "refuse")


class SpreadEvents(Events):
    """Lets the events of a scenario happen; the number of an event selects the server."""

    def __init__(
        self, timeline: Timeline, masters: Masters, network: SpreadNetwork, history: History, trace: Trace
    ) -> None:
        super().__init__(timeline, masters, network, history, trace)
        self._masters: Final = masters
        self._spread: Final = network

    def heal(self) -> None:
        """Whatever is wrong with the servers ends."""
        for server in range(len(self._masters.nodes)):
            self._spread.go_on(server)
        self._masters.heal()

    def _happen(self, event: Event) -> None:
        masters, now = self._masters, self._timeline.now
        server = event.number % len(masters.nodes)
        node = masters.nodes[server]
        self._trace.note(now, None, event.kind)
        if self._trace.recording:
            self._trace.say(now, None, f"SERVER {server}: {event.kind} {event.span / SECOND:.3f} s")
        if event.kind == "failover":
            masters.away.add(server)
        elif event.kind == "flush":
            node.flush_scripts()
        elif event.kind == "clock":
            node.offset += event.span
        elif event.kind == "pause":
            self._spread.halt(server)
        elif event.kind == "kill links":
            self._spread.cut_links()
        elif event.kind == "full":
            node.full = True
        elif event.kind == "readonly":
            node.readonly = True
        else:
            node.refusing = REFUSALS[event.number % len(REFUSALS)]
        self._timeline.at(now + abs(event.span), self._over, event, server)

    def _over(self, event: Event, server: int) -> None:
        node = self._masters.nodes[server]
        if event.kind == "failover":
            # The replica has all data, no scripts and a clock of its own.
            self._masters.away.discard(server)
            node.flush_scripts()
            node.offset += event.span if event.number & 1 else -event.span
        elif event.kind == "pause":
            self._spread.go_on(server)
        elif event.kind == "full":
            node.full = False
        elif event.kind == "readonly":
            node.readonly = False
        elif event.kind == "refuse":
            node.refusing = None
