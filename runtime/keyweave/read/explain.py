"""Explanations: how a query is executed, without reading a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from keyweave.effects import Flow
from keyweave.exchange.ask import ask
from keyweave.model.page import MAX_LIMIT, check_limit
from keyweave.read.execute import Answer, answer_to, batch_for
from keyweave.read.plan import Plan, checked, size_command
from keyweave.read.query import Query
from keyweave.read.usable import labels_of
from keyweave.store.context import Context


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a query is executed; as text, a few lines.

    Attributes:
        entity: name of the entity.
        access: `key`, `unique`, `view`, `sort` for views in another order that are read whole and sorted, or `nothing` if no row can match.
        view: the view that is read, or None; of several, the first.
        views: every view that is read; one is named once for each of its lists.
        order: the order of the rows.
        descending: whether the highest value comes first.
        candidates: every view among which the planner chose, with its number of members; of several elements with the element.
        narrowing: other views that a member must be in before its document is read; of several elements with the element.
        compared: fields that no view covers, so that they are compared in each document that is read.
        trips: round trips of the first page, if the documents of its first batch suffice.
        documents: the most documents that are read for it.
        scan: whether all rows are read.
        partitions: how many partitions are asked, all at the same time.
    """

    entity: str
    access: str
    view: str | None
    views: tuple[str, ...]
    order: str
    descending: bool
    candidates: Mapping[str, int] = field(default_factory=dict)
    narrowing: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    trips: int = 0
    documents: int = 0
    scan: bool = False
    partitions: int = 1

    def __str__(self) -> str:
        how = {
            "key": "by key",
            "unique": "by unique value",
            "view": f"by {_listed(self.views)}",
            "sort": f"by {_listed(self.views)}, read whole and sorted",
            "nothing": "no row can match",
        }[self.access]
        lines = [
            f"{self.entity} {how}, order {self.order} {'descending' if self.descending else 'ascending'}"
        ]
        if self.candidates:
            sizes = ", ".join(f"{name} ({size:,})" for name, size in self.candidates.items())
            lines.append(f"chosen among: {sizes}")
        if self.narrowing:
            lines.append(f"only members of: {', '.join(self.narrowing)}")
        if self.compared:
            lines.append(f"compared on documents: {', '.join(self.compared)}")
        if self.partitions > 1:
            lines.append(f"merged from {self.partitions:,} partitions")
        if self.scan:
            lines.append("scan: all rows are read")
        lines.append(
            f"first page: {_number(self.trips, 'trip')}, at most {_number(self.documents, 'document')}"
        )
        return "\n".join(lines)


def explain(context: Context, query: Query, limit: int = 50) -> Flow[Explanation]:
    """Return how a page of `limit` rows of a query is executed, without reading a document; errors as for `query_page.page`."""
    check_limit(limit, query.entity.name)
    if context.router is not None:
        found: Explanation = yield from context.router.query(explain, context, query, limit)
        return found
    answer = yield from answer_to(context, query, checked(query))
    entity, plan = query.entity, answer.plans[0]
    streams = [*answer.streams, *[each for one in answer.plans for each in one.sorted_from]]
    sizes = dict(plan.sizes)
    readable = plan.readable(entity, query.order)
    # The script chooses among these, so their sizes are asked for here.
    asked = readable if len(readable) > 1 else plan.sorted_from
    numbers: list[int] = []
    if asked:
        commands = tuple([size_command(context, entity, each) for each in asked])
        numbers = [int(number) for number in (yield from ask(context, commands))]
    views = tuple(each.view.name for each in streams)
    narrowing: tuple[str, ...] = ()
    if readable:
        labels = labels_of([*readable, *plan.narrowing])
        if numbers:
            sizes = dict(zip(labels, numbers, strict=False))
        best = min(range(len(readable)), key=lambda number: numbers[number] if numbers else 0)
        views = (readable[best].view.name,)
        narrowing = tuple(label for number, label in enumerate(labels) if number != best)
    trips, documents = _cost(context, answer, limit, sum(numbers) if plan.sorted_from else 0)
    return Explanation(
        entity.name,
        _access(plan, answer),
        views[0] if views else None,
        views,
        query.order,
        answer.newest,
        sizes,
        narrowing,
        tuple(sorted({name for each in answer.plans for name in each.compared})),
        trips,
        documents,
        any(each.scan for each in answer.plans),
    )


def _access(plan: Plan, answer: Answer) -> str:
    if plan.keys:
        return "key"
    if plan.claim is not None:
        return "unique"
    if answer.streams or plan.access is not None:
        return "view"
    return "sort" if plan.sorted_from else "nothing"


def _cost(context: Context, answer: Answer, limit: int, size: int) -> tuple[int, int]:
    """Return round trips and the most documents of a page; `size` is the number of members that are read to be sorted."""
    trips = documents = 0
    for plan in answer.plans:
        trips += bool(plan.sizes)
        if plan.keys:
            trips += ceil(len(plan.keys) / 500)
            documents += len(plan.keys)
        elif plan.claim is not None:
            trips, documents = trips + 1, documents + 1
        elif plan.sorted_from:
            trips += max(1, ceil(size / MAX_LIMIT))
            documents += size
    if answer.streams or answer.plans[0].access is not None:
        trips += 1 if context.strategy.by_script else 2
        documents += batch_for(answer, limit)
    return trips, documents


def _listed(views: tuple[str, ...]) -> str:
    counted = {name: views.count(name) for name in views}
    return " and ".join(
        f"view {name}" if number == 1 else f"{number} lists of view {name}"
        for name, number in counted.items()
    )


def _number(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
