"""The page about the model: what was measured, what is projected from it, and by which assumptions."""

from __future__ import annotations

from collections.abc import Iterator

from tools.scale_model.measure import EVERYWHERE, Costs, Measured, faults
from tools.scale_model.project import MIX, Assumptions, Projected, project, server_micros


def page(measured: Measured, assumed: Assumptions, load: float) -> Iterator[str]:
    """The lines of the page."""
    yield "# Scale model"
    yield ""
    yield (
        "For developers who choose a number of partitions and of servers. The first part is measured: what calls cost on groups of 1 to 64 "
        "partitions. The second part is **projected** from it, for more rows and calls than one machine has. `make scale-model` writes this page; do not edit it."
    )
    yield ""
    yield "## Measured"
    yield ""
    yield (
        "One blocking caller and one server on the same machine, whose load was "
        f"{load:.1f} on two cores. Each cell is the median over rounds in which the numbers of partitions take turns. Microseconds of the server are those of "
        "commands and scripts (`INFO commandstats`), without sockets; microseconds of the client are processor time."
    )
    yield ""
    for title, word, digits in (
        ("Round trips", "trips", 1),
        ("Bytes in both directions", "bytes", 0),
        ("Server, µs", "server", 1),
        ("Client, µs", "client", 0),
    ):
        yield from _table(measured.costs, title, word, digits)
    problems = faults(measured.costs)
    yield (
        "A call that knows its partition costs the same on 4, 16 and 64 partitions, and a call over all of them takes the same round "
        f"trips. `make scale-model` ends with exit code 1 where that does not hold. Here {'it holds' if not problems else '**it does not**: ' + '; '.join(problems)}. "
        f"Bytes and time of {' and '.join(sorted(EVERYWHERE))} grow with the number, because every partition answers."
    )
    yield ""
    yield f"A task of an agent with an input of 400 bytes takes {measured.row_bytes:,.0f} bytes: its document, its entries and its home."
    yield ""
    yield "## Projected"
    yield ""
    yield (
        f"The load is {', '.join(f'{share:.0%} {name}' for name, share in MIX.items())}: {server_micros(measured.costs):.1f} µs of commands a call. "
        "These sizes were not run. The projection assumes:"
    )
    yield ""
    yield f"- A node has {assumed.node_gb:g} GB, of which data takes {assumed.fill:.0%}, and one core runs its commands."
    yield (
        f"- The core works {assumed.io:g} times as long for a call as its commands take, for sockets and parsing, and is busy for {assumed.busy:.0%} of the time."
    )
    yield f"- There are {assumed.copies} copies of the data: each master has {assumed.copies - 1} replica{'s' if assumed.copies > 2 else ''}."
    yield (
        f"- A gigabyte of memory costs {assumed.price:g} for an hour, in any currency (option `--price`), and a month has 730 hours. "
        "Traffic, disks and support are not in it."
    )
    yield "- Executions are spread evenly, as the hash spreads random ids, and no single execution exceeds one core."
    yield ""
    yield "| rows | calls a second | data, GB | masters | nodes | decided by | partitions | money a month |"
    yield "|---|---|---|---|---|---|---|---|"
    for each in project(measured, assumed):
        yield _line(each)
    yield ""
    yield (
        "A group has at most 1,024 partitions, and one partition is on one core. So a line that needs more partitions than that needs several groups "
        "or tenants."
    )
    yield ""


def _table(costs: Costs, title: str, word: str, digits: int) -> Iterator[str]:
    numbers = sorted({number for by in costs.values() for number in by})
    yield f"| {title} | {' | '.join(str(number) for number in numbers)} |"
    yield f"|---|{'---|' * len(numbers)}"
    for name, by in costs.items():
        yield f"| {name} | {' | '.join(f'{getattr(by[number], word):,.{digits}f}' for number in numbers)} |"
    yield ""


def _line(each: Projected) -> str:
    return (
        f"| {each.rows:,} | {each.rate:,} | {each.gigabytes:,.0f} | {each.masters:,} | {each.nodes:,} | {each.limit} | "
        f"{each.partitions:,} | {each.money:,.0f} |"
    )
