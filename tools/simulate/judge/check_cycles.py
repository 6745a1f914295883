"""Cycles in the history of lists that are only appended to, after Elle: what was read shows the order of the transactions.

The final list of a counter gives the order of its appends. One transaction depends on another if it appended behind it,
read what it appended, or was followed by it behind what it read. In a serializable history that is no circle.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from tools.simulate.history import Act
from tools.simulate.judge.rows import Rows

if TYPE_CHECKING:
    from tools.simulate.run import Run

Graph = dict[str, dict[str, str]]


def check_cycles(run: Run, rows: Rows) -> None:
    """Judge the lists of counters."""
    lost = run.history.lost
    acts = {act.token: act for act in run.history.acts}
    final = {key: [t for t in record.tokens if t not in lost] for key, record in rows["Counter"].items()}
    if any(len(set(tokens)) < len(tokens) for tokens in final.values()):
        return  # what counts twice is reported as that
    graph: Graph = defaultdict(dict)
    for key, tokens in final.items():
        for earlier, later in pairwise(tokens):
            graph[earlier].setdefault(later, f"{earlier} appended to {key} before {later}")
    for act in run.history.acts:
        if not act.done or act.token in lost:
            continue
        for listed in act.lists:
            read, whole = list(listed.tokens), final.get(listed.key, [])
            if any(token in lost for token in read):
                continue
            if read != whole[: len(read)]:
                run.complain(
                    "list",
                    f"{act.kind} {act.token} read {read} in counter {listed.key}, which became {whole}",
                    act,
                )
                continue
            if read and read[-1] != act.token:
                text = f"{act.token} read what {read[-1]} appended to {listed.key}"
                graph[read[-1]].setdefault(act.token, text)
            following = whole[len(read)] if len(read) < len(whole) else None
            if following is not None and following != act.token:
                text = f"{act.token} read {listed.key} before {following} appended to it"
                graph[act.token].setdefault(following, text)
    circle = find_circle(graph)
    if circle is not None:
        involved = [acts[token] for token in circle if token in acts]
        steps = [graph[one][two] for one, two in zip(circle, [*circle[1:], circle[0]], strict=True)]
        run.complain("cycle", "; ".join(steps), *_suspects(involved))


def _suspects(acts: list[Act]) -> list[Act]:
    return [act for act in acts if act.kind != "counter.get"]


def find_circle(graph: Graph) -> list[str] | None:
    """A short circle, or None."""
    ended: set[str] = set()
    for start in sorted(graph):
        path, ahead = [start], [iter(sorted(graph[start]))]
        while path:
            following = next(ahead[-1], None)
            if following is None:
                ended.add(path.pop())
                ahead.pop()
            elif following in path:
                return _shortest(graph, path[path.index(following) :])
            elif following not in ended:
                path.append(following)
                ahead.append(iter(sorted(graph.get(following, ()))))
    return None


def _shortest(graph: Graph, circle: list[str]) -> list[str]:
    """The shortest circle through the first of these."""
    start = circle[0]
    paths = [[start]]
    seen = {start}
    while paths:
        following: list[list[str]] = []
        for path in paths:
            for name in sorted(graph.get(path[-1], ())):
                if name == start:
                    return path
                if name not in seen:
                    seen.add(name)
                    following.append([*path, name])
        paths = following
    return circle
