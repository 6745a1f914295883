"""Random schemas, as text for the generator and as plain values for the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

STATES: Final = ("open", "done", "void")
TEXTS: Final = ("x", "X", "y:%", "\N{SNOWMAN}")
POOLS: Final[Mapping[str, tuple[Any, ...]]] = {
    "state": STATES,
    "text": TEXTS,
    "number": (0, 1, 2, 10**12),
    "flag": (True, False),
}
KEYS: Final = ("a", "b:c", "{d}%", "e")
"""How the model names rows: few keys, so that steps meet."""
NUMBERS: Final[Mapping[str, int]] = {"a": 10, "b:c": 9, "{d}%": -2, "e": 100}
"""The key of a row where keys are numbers."""
LANES: Final[Mapping[str, int]] = {"a": 9, "b:c": 10, "{d}%": -1, "e": 9}
"""The first part of the key of a row where keys are composite; the second is the name of the row."""
TYPES: Final = {"state": "State", "text": "string", "number": "int", "flag": "bool"}


@dataclass(frozen=True)
class Condition:
    """A comparison of a field. Every comparison with null is false."""

    name: str
    word: str
    value: Any

    def holds(self, row: Mapping[str, Any]) -> bool:
        given = row[self.name]
        if self.word in ("is null", "is not null"):
            return (given is None) == (self.word == "is null")
        if given is None:
            return False
        if self.word in ("in", "not in"):
            return (given in self.value) == (self.word == "in")
        if self.word in ("==", "!="):
            return bool((given == self.value) == (self.word == "=="))
        return bool(given > self.value)

    def __str__(self) -> str:
        if self.word.startswith("is"):
            return f"{self.name} {self.word}"
        value = {True: "true", False: "false"}.get(self.value) if self.name == "flag" else None
        if self.word in ("in", "not in"):
            return f"{self.name} {self.word} {list(self.value)!r}"
        return f"{self.name} {self.word} {value or repr(self.value)}"


@dataclass
class Kind:
    """An entity of a random schema.

    Attributes:
        key: what keys are: `text`, `int` or `composite`.
        references: field -> target, all with cascade.
        numbers: the references to rows whose keys are numbers.
        views: name -> fields, order and direction; empty for the usual one.
        unique: fields of the only unique constraint, or nothing.
    """

    name: str
    optional: dict[str, bool]
    key: str = "text"
    references: dict[str, str] = field(default_factory=dict)
    numbers: set[str] = field(default_factory=set)
    views: dict[str, tuple[tuple[str, ...], str, str]] = field(default_factory=dict)
    unique: tuple[str, ...] = ()
    lower: bool = False
    ends: Condition | None = None
    rule: Condition | None = None

    @property
    def repository(self) -> str:
        return self.name.lower() + "s"

    def identity(self, name: str) -> tuple[Any, ...]:
        """The key of the row that the model calls so, as arguments."""
        return {"text": (name,), "int": (NUMBERS[name],), "composite": (LANES[name], name)}[self.key]

    def outside(self, field: str, value: Any) -> Any:
        """A value of the model as the store has it."""
        return NUMBERS[value] if field in self.numbers and value is not None else value

    def given(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of the model as the store has it."""
        parts = ("lane", "id") if self.key == "composite" else ("id",)
        fields = {name: self.outside(name, value) for name, value in row.items()}
        return {**fields, **dict(zip(parts, self.identity(row["id"]), strict=True))}

    def claim(self, row: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The unique value of a row; None if it has none."""
        values = tuple(row[name] for name in self.unique)
        if not values or None in values:
            return None
        return tuple(value.lower() if self.lower and isinstance(value, str) else value for value in values)

    def yaml(self) -> str:
        lines = [f"entity: {self.name}", "group: all"]
        lines += ["key: [lane, id]" if self.key == "composite" else "key: id", "fields:"]
        lines += ["  lane: {type: int}"] if self.key == "composite" else []
        lines.append(f"  id: {{type: {'int' if self.key == 'int' else 'id'}}}")
        for name, optional in self.optional.items():
            kind = TYPES.get(name, "int" if name in self.numbers else "id")
            lines.append(f"  {name}: {{type: {kind}{', optional: true' if optional else ''}}}")
        lines.append("views:")
        for name, (fields, order, direction) in self.views.items():
            by = f"{order} {direction}".strip()
            lines.append(f"  {name}: {{fields: [{', '.join(fields)}], order: {by}, why: lists}}")
        if self.references:
            lines.append("references:")
            for name, target in self.references.items():
                lines.append(f"  {name}: {{entity: {target}, on_delete: cascade, via: by_{name}}}")
        if self.unique:
            normalize = ", normalize: lower" if self.lower else ""
            lines += ["unique:", f"  one: {{fields: [{', '.join(self.unique)}]{normalize}}}"]
        if self.rule is not None:
            lines += ["checks:", f"  rule: {{rule: {json.dumps(str(self.rule))}}}"]
        if self.ends is not None:
            lines += ["retention:", "  after: 1d", f"  when: {json.dumps(str(self.ends))}"]
        return "\n".join(lines) + "\n"


def random_kinds(random: Random) -> list[Kind]:
    """One to three entities; later ones may refer to earlier ones and to themselves."""
    kinds: list[Kind] = []
    for name in ("Ant", "Bee", "Cow")[: random.choice((1, 2, 2, 3))]:
        key = random.choice(("text", "text", "int", "composite"))
        kind = Kind(name, {each: random.random() < 0.5 for each in POOLS}, key)
        kind.optional["number"] = False
        kind.views["all"] = ((), "created", "")
        targets = [each for each in kinds if each.key != "composite"]
        if targets and random.random() < 0.9:
            _refer(kind, "parent", random.choice(targets), random.random() < 0.3)
        if kind.key != "composite" and random.random() < 0.4:
            _refer(kind, "above", kind, True)
        for _ in range(random.randint(1, 4)):
            fields = tuple(random.sample([*POOLS, *kind.references], random.randint(0, 2)))
            orders = (
                "created",
                "created",
                "revision",
                "number",
                *([] if kind.optional["text"] else ["text"] * 2),
            )
            order = random.choice(orders)
            if (set(fields), order) not in [(set(known), by) for known, by, _ in kind.views.values()]:
                kind.views[f"v{len(kind.views)}"] = (fields, order, random.choice(("", "asc", "desc")))
        if random.random() < 0.6:
            kind.unique = random.choice((("text",), ("text", "number"), ("state", "text")))
            kind.lower = random.random() < 0.5 and kind.unique == ("text",)
        if random.random() < 0.7:
            kind.ends = _condition(random)
        if random.random() < 0.2:
            kind.rule = _condition(random)
        kinds.append(kind)
    return kinds


def sources(package: str, kinds: list[Kind]) -> dict[str, str]:
    """The files of the schema."""
    text = (
        f"package: {package}\nnamespace: {{app: differential, version: v1, environment: test, tenant: default}}\n"
        f"groups:\n  all: {{}}\nenums:\n  State:\n    values: [{', '.join(STATES)}]\n"
    )
    return {"package.yaml": text, **{f"{kind.name.lower()}.yaml": kind.yaml() for kind in kinds}}


def _refer(kind: Kind, name: str, target: Kind, optional: bool) -> None:
    kind.optional[name] = optional
    kind.references[name] = target.name
    kind.numbers |= {name} if target.key == "int" else set()
    kind.views[f"by_{name}"] = ((name,), "created", "")


def _condition(random: Random) -> Condition:
    name = random.choice(("state", "state", "flag", "number"))
    if name == "number":
        return Condition(name, ">", 1)
    if name == "flag":
        return Condition(name, random.choice(("==", "!=")), random.random() < 0.5)
    word = random.choice(("==", "!=", "in", "not in"))
    return Condition(name, word, "done" if word in ("==", "!=") else ("done", "void"))
