"""Random rows and queries: each query as a handle of rows and as SQL."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from keyweave.query import at_least, at_most, between, contains, is_not, one_of, starts_with
from tests.queries.package import stock

DAY = datetime(2026, 1, 1, tzinfo=UTC)
OWNERS = [
    "ada",
    "bob",
    "Éva",
    "a:b%",
    "ab",
    "",
    "a",
    "a\x01",
    "a\x01\x02",
    "\x01",
    "a\uffff",
    "a\U0001f600",
    "A",
]
TEAMS = ["red", "blue", None]
TAGS = ["new", "sale", "x"]
ORDERS = [
    "created",
    "revision",
    "price",
    "weight",
    "opened",
    "length",
    "owner",
    "rank",
    "slug",
    "cost",
    "day",
    "starts",
    "id",
    "team",
]
TEXTS = ("owner", "slug", "id", "team")
COLUMNS = {"created": "made", "revision": "changed"}


def values_of(field: str) -> list[Any]:
    """The values that rows have in a field, and one that none has."""
    every: dict[str, list[Any]] = {
        "id": [f"i{number}" for number in range(24)],
        "kind": list(stock().Kind),
        "owner": OWNERS,
        "team": ["red", "blue", "none"],
        "price": list(range(-3, 9)),
        "weight": [-1.5, 0.0, 0.25, 3.0, 1e9],
        "opened": [DAY + timedelta(days=number, microseconds=number) for number in range(6)],
        "length": [timedelta(seconds=number, microseconds=1) for number in range(5)],
        "flag": [True, False],
        "rank": [0, 1, 2],
        "slug": [f"slug{number}" for number in range(24)],
        "tags": [*TAGS, "none"],
        "cost": [Decimal(text) for text in ("-0.001", "0", "0.1", "0.101", "123456789.999")],
        "day": [date(2026, 1, 1) + timedelta(days=number) for number in range(4)],
        "starts": [time(0), time(9), time(9, 0, 0, 1), time(23, 59, 59, 999999)],
    }
    return every[field]


def row(chance: random.Random, key: str) -> dict[str, Any]:
    """The values of a random row."""
    drawn = {
        name: chance.choice(values_of(name))
        for name in ("kind", "owner", "price", "weight", "opened", "length", "cost", "day", "starts")
    }
    drawn |= {"team": chance.choice(TEAMS), "flag": chance.choice([True, False, None])}
    drawn |= {"rank": chance.choice([0, 1, 2, None]), "slug": f"slug{key[1:]}"}
    return {"id": key, **drawn, "tags": chance.sample(TAGS, chance.randint(0, 3))}


def literal(value: Any) -> str:
    """A value in SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, time):
        return f"TIME '{value.isoformat()}'"
    if type(value) is date:
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.isoformat()}'"
    if isinstance(value, timedelta):
        return str(value // timedelta(microseconds=1))
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(literal, value))}]::text[]"
    text = str.__str__(value).replace("'", "''")
    return f"'{text}'"


@dataclass(frozen=True)
class Drawn:
    """A query.

    Attributes:
        make: returns the handle on the repository of items and on that of notes.
        where: its condition in SQL.
        order: the order.
        descending: the direction.
        words: the query in words, for a failure.
    """

    make: Callable[[Any, Any], Any]
    where: str
    order: str
    descending: bool
    words: str

    @property
    def column(self) -> str:
        return COLUMNS.get(self.order, self.order)

    @property
    def sql(self) -> str:
        """The keys of all rows, in order."""
        way = "DESC" if self.descending else "ASC"
        return (
            f"SELECT id FROM items WHERE ({self.where}) AND {self.column} IS NOT NULL "
            f"ORDER BY {self.column} {way}, id {way}"
        )


def condition(chance: random.Random, name: str) -> tuple[Any, str]:
    """A filter of a field, and the same in SQL."""
    if name == "tags":
        tags = chance.sample([*TAGS, "none"], chance.choice([1, 1, 2, 3]))
        return contains(*tags), f"tags @> {literal(tags)}"
    values = values_of(name)
    one = chance.choice(values)
    options = ["equal", "equal", "one_of", "is_not"]
    if name in ("team", "flag", "rank"):
        options += ["null", "not null"]
    if name not in ("kind", "flag"):
        options += ["between", "between", "at_least", "at_most"]
    if name in TEXTS:
        options.append("starts_with")
    match chance.choice(options):
        case "equal":
            return one, f"{name} = {literal(one)}"
        case "one_of":
            some = chance.sample(values, chance.randint(0, min(4, len(values))))
            listed = ", ".join(map(literal, some))
            return one_of(*some), f"{name} IN ({listed})" if some else "FALSE"
        case "is_not":
            return is_not(one), f"{name} <> {literal(one)}"
        case "null":
            return None, f"{name} IS NULL"
        case "not null":
            return is_not(None), f"{name} IS NOT NULL"
        case "between":
            low, high = sorted(chance.choices(values, k=2))
            return between(low, high), f"{name} BETWEEN {literal(low)} AND {literal(high)}"
        case "at_least":
            return at_least(one), f"{name} >= {literal(one)}"
        case "at_most":
            return at_most(one), f"{name} <= {literal(one)}"
    start = one[: chance.randint(0, 2)]
    return starts_with(start), f"starts_with({name}, {literal(start)})"


FIELDS = [
    "id",
    "kind",
    "owner",
    "team",
    "price",
    "weight",
    "opened",
    "length",
    "flag",
    "rank",
    "slug",
    "cost",
    "day",
    "starts",
    "tags",
]
VIEWS = {
    "by_kind": (["kind"], "created", True, "TRUE"),
    "by_kind_owner": (["kind", "owner"], "created", True, "TRUE"),
    "by_team": (["team"], "revision", True, "TRUE"),
    "by_owner_price": (["owner"], "price", True, "TRUE"),
    "by_price": ([], "price", True, "TRUE"),
    "by_kind_weight": (["kind"], "weight", True, "TRUE"),
    "by_opened": ([], "opened", True, "TRUE"),
    "by_length": (["owner"], "length", True, "TRUE"),
    "all": ([], "created", True, "TRUE"),
    "by_tag": (["tags"], "created", True, "TRUE"),
    "by_owner_tag": (["owner", "tags"], "price", True, "TRUE"),
    "cheap_tag": (["tags"], "price", True, "price < 3"),
    "cheap": ([], "price", True, "price < 3"),
    "unranked": (["kind"], "created", True, "rank IS NULL AND owner >= 'ab'"),
    "flagged": ([], "revision", True, "flag AND team IS NOT NULL"),
    "some_kinds": ([], "weight", True, "kind IN ('tool', 'book') AND weight <> 0.25"),
    "odd": (["team"], "created", True, "(COALESCE(flag, FALSE) OR price > 4)"),
    "by_slug": ([], "slug", False, "TRUE"),
    "by_owner": ([], "owner", False, "TRUE"),
    "by_kind_from_owner": (["kind"], "owner", True, "TRUE"),
    "by_team_owner": (["team"], "owner", False, "TRUE"),
    "by_tag_owner": (["tags"], "owner", False, "TRUE"),
    "flagged_owner": (["kind"], "owner", False, "flag"),
    "by_id": (["kind"], "id", False, "TRUE"),
    "cheapest": (["kind"], "price", False, "TRUE"),
    "first": (["kind", "team"], "created", False, "TRUE"),
    "by_cost": ([], "cost", False, "TRUE"),
    "by_day": (["kind"], "day", True, "TRUE"),
    "by_rank": ([], "rank", True, "TRUE"),
    "by_kind_rank": (["kind"], "rank", False, "TRUE"),
    "in_team": (["kind"], "team", False, "TRUE"),
    "flagged_team": (["kind"], "team", True, "flag"),
    "by_starts": ([], "starts", False, "TRUE"),
}
"""Views with their fields, their order, whether it begins with the highest value, and their condition."""


def query(chance: random.Random) -> Drawn:
    """A random query: filters or a view, perhaps several of them joined by `|`, with ends, order and direction."""
    views = chance.random() < 0.4
    order = chance.choice(ORDERS)
    descending = order not in TEXTS
    if views:
        order, descending = chance.choice(sorted({(order, way) for _, order, way, _ in VIEWS.values()}))
    parts = [
        _part(chance, order, views and chance.random() < 0.7, descending)
        for _ in range(chance.choice([1, 1, 1, 2, 3]))
    ]
    reverse, scan = chance.random() < 0.4, True
    descending = descending != reverse
    where, words = " OR ".join(f"({sql})" for _, sql in parts), " | ".join(sql for _, sql in parts)
    having = chance.choice([None, None, None, 0, 1])
    ends = None
    if order not in ("created", "revision") and chance.random() < 0.3:
        ends = sorted(chance.choices(values_of(order), k=2))
        if chance.random() < 0.3:
            ends[chance.randrange(2)] = None
        bounds = [
            f"{order} {sign} {literal(end)}"
            for sign, end in zip((">=", "<="), ends, strict=True)
            if end is not None
        ]
        where = " AND ".join([f"({where})", *bounds])
    if having is not None:
        where = f"({where}) AND EXISTS (SELECT FROM notes WHERE item = items.id AND state = {having})"

    def make(items: Any, notes: Any) -> Any:
        rows = None
        for build, _ in parts:
            part = build(items)
            rows = part if rows is None else rows | part
        assert rows is not None
        if ends is not None:
            rows = rows.between(*ends)
        if having is not None:
            rows = rows.having(notes.where(state=having))
        rows = rows.reverse() if reverse else rows
        return rows.scan() if scan else rows

    words = f"{words} by {order}{' reversed' if reverse else ''} between {ends} having {having}"
    return Drawn(make, where, order, descending, words)


def implying(chance: random.Random) -> list[dict[str, tuple[Any, str]]]:
    """Filters that imply the conditions of partial indexes, or nearly, each with the same in SQL."""
    kinds, top = list(stock().Kind), chance.choice([2, 2, 3])
    kind, slug, flag = chance.choice(kinds), chance.choice(values_of("slug")), chance.random() < 0.8
    pair = chance.sample(kinds, 2)
    listed = ", ".join(map(literal, pair))
    return [
        {"price": (at_most(top), f"price <= {top}")},
        {"price": (between(0, top), f"price BETWEEN 0 AND {top}")},
        {
            "rank": (None, "rank IS NULL"),
            "owner": (starts_with("ab"), "starts_with(owner, 'ab')"),
            "kind": (kind, f"kind = {literal(kind)}"),
        },
        {"flag": (flag, f"flag = {flag}"), "team": (is_not(None), "team IS NOT NULL")},
        {"kind": (one_of(*pair), f"kind IN ({listed})"), "weight": (is_not(0.25), "weight <> 0.25")},
        {
            "slug": (slug, f"slug = {literal(slug)}"),
            "kind": (kind, f"kind = {literal(kind)}"),
            "flag": (flag, f"flag = {flag}"),
        },
    ]


def _part(
    chance: random.Random, order: str, views: bool, descending: bool
) -> tuple[Callable[[Any], Any], str]:
    if views:
        name = chance.choice([name for name, (_, *by, _) in VIEWS.items() if by == [order, descending]])
        fields, _, _, where = VIEWS[name]
        values = {field: chance.choice(values_of(field)) for field in fields}
        tests = [
            f"{literal(value)} = ANY(tags)" if field == "tags" else f"{field} = {literal(value)}"
            for field, value in values.items()
        ]
        return (lambda items: getattr(items, name)(*values.values())), " AND ".join([*tests, where])
    filters: dict[str, Any] = {}
    texts = []
    if chance.random() < 0.3:
        for field, (value, text) in chance.choice(implying(chance)).items():
            filters[field] = value
            texts.append(text)
    for field in chance.sample(FIELDS, chance.choice([0, 1, 1, 2, 2, 3])):
        if field not in filters:
            filters[field], text = condition(chance, field)
            texts.append(text)
    sql = " AND ".join(texts) or "TRUE"
    if descending == (order not in TEXTS):
        return (lambda items: items.where(**filters).order_by(order)), sql
    return (lambda items: items.where(**filters).order_by(order).reverse()), sql
