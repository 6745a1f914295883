"""A random schema for a seed, as the values of its YAML files."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.schemas.expressions import condition, number
from tests.schemas.words import NOUNS, VALUES, lower, pascal

SCALARS = (
    *("string", "id", "int", "float", "decimal", "bool"),
    *("datetime", "date", "time", "duration", "uuid", "bytes", "json"),
)
PATTERNS = ("a", "^[a-z]*$", "^é?", "x|y", "\\S", "[\"']*", "\\d{2,3}")
DOCS = (
    "",
    "A text.",
    'Ends with "',
    '"Quoted"',
    "Back\\slash\\",
    '"""',
    "A long text, " * 14,
    "日本語 é",
    "a\n  b",
    "{{ x }} {% y %}",
)


def drawn(seed: int) -> dict[str, str]:
    """The files of the schema of a seed: name -> text. JSON is YAML, and shows what a name is."""
    draw = random.Random(seed)
    return _Schema(draw, f"fuzz_{seed}").files()


class _Schema:
    def __init__(self, draw: random.Random, package: str) -> None:
        self._draw = draw
        self._package = package
        self._names: set[str] = set()
        self._enums: dict[str, Any] = {}
        self._records: dict[str, Any] = {}
        self._groups: dict[str, Any] = {}
        self._keys: dict[str, Any] = {}
        self._composite: set[str] = set()

    def files(self) -> dict[str, str]:
        draw = self._draw
        for _ in range(draw.randint(0, 2)):
            self._enums[self._class()] = self._enum()
        self._groups = {lower(draw): {"doc": self._doc()} for _ in range(draw.choice([1, 1, 2]))}
        for _ in range(draw.randint(0, 2)):
            name = self._class()
            self._records[name] = {
                "fields": self._fields(draw.randint(1, 4), entity=False),
                "doc": self._doc(),
            }
        names = [self._class() for _ in range(draw.choice([1, 1, 2, 3]))]
        self._keys = {name: self._key() for name in names}
        self._composite = {name for name in names if draw.random() < 0.25}
        entities = {f"e{number}.yaml": self._entity(name, names) for number, name in enumerate(names)}
        package = {
            "package": self._package,
            "doc": self._doc(),
            "namespace": {"app": "fuzz", "version": "v1", "environment": "dev", "tenant": "default"},
            "groups": self._groups,
            "enums": self._enums,
            "records": self._records,
        }
        values = {"package.yaml": package, **entities}
        return {name: json.dumps(value, ensure_ascii=False, indent=1) for name, value in values.items()}

    def _class(self) -> str:
        name = pascal(self._draw)
        if name in self._names and self._draw.random() < 0.95:
            return self._class()
        self._names.add(name)
        return name

    def _doc(self) -> str:
        return self._draw.choice(DOCS)

    def _enum(self) -> dict[str, Any]:
        draw = self._draw
        values = draw.sample(
            sorted({*NOUNS[:20], *VALUES[: 2 if draw.random() < 0.9 else None]}), draw.randint(1, 4)
        )
        made: Any = values
        if draw.random() < 0.5:
            values = draw.sample([value for value in (*NOUNS[:20], *VALUES) if value], draw.randint(1, 4))
            made = {f"N{number}_{draw.choice('AB')}": value for number, value in enumerate(values)}
        else:
            made = values = [value for value in values if value.isidentifier() or draw.random() < 0.1] or [
                "one"
            ]
        enum: dict[str, Any] = {"values": made, "doc": self._doc()}
        if draw.random() < 0.5:
            enum["sets"] = {lower(draw): draw.sample(values, draw.randint(1, len(values)))}
        return enum

    def _type(self, depth: int = 2) -> Any:
        draw = self._draw
        chosen = draw.random()
        if depth and chosen < 0.2:
            if chosen < 0.05:
                return {"type": "set", "of": draw.choice(SCALARS[:-1])}
            return {"type": draw.choice(["list", "map"]), "of": self._type(depth - 1)}
        if self._enums and chosen < 0.35:
            return {"type": draw.choice(sorted(self._enums))}
        if self._records and chosen < 0.5:
            return {"type": draw.choice(sorted(self._records))}
        return {"type": draw.choice(SCALARS)}

    def _fields(self, count: int, *, entity: bool) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for _ in range(count):
            name = lower(self._draw)
            if name not in fields:
                fields[name] = self._field()
        for name, field in fields.items():
            if field["type"] in ("int", "float") and self._draw.random() < 0.1:
                field["when_zero"] = number(self._draw, fields, name)
        return fields

    def _field(self) -> dict[str, Any]:
        draw = self._draw
        field: dict[str, Any] = self._type()
        kind = field["type"]
        if draw.random() < 0.3:
            field["optional"] = True
        elif draw.random() < 0.3:
            made = self._default(field)
            if made is not None:
                field["default"] = made
        if draw.random() < 0.1:
            field["secret"] = True
        if draw.random() < 0.2:
            field["doc"] = self._doc()
        if kind in ("int", "float") and draw.random() < 0.3 and "default" not in field:
            low = draw.choice([-(10**16), -1, 0, 1, 2**53])
            field["min"] = low
            if draw.random() < 0.5:
                field["max"] = low + draw.choice([0, 1, 10])
        if (
            kind in ("string", "id", "bytes", "list", "set", "map")
            and draw.random() < 0.2
            and "default" not in field
        ):
            field["max_length"] = draw.choice([0, 1, 5, 2**31, 10**17])
            field["min_length"] = draw.choice([0, 1])
        if kind == "decimal" and draw.random() < 0.6 and "default" not in field:
            field["digits"] = draw.choice([3, 15, 16, 1000])
            if draw.random() < 0.7:
                field["places"] = draw.choice([0, 2])
        if kind in ("string", "id") and draw.random() < 0.2 and not {"default", "max_length"} & field.keys():
            field["pattern"] = draw.choice(PATTERNS)
        if kind in ("string", "id") and draw.random() < 0.2:
            field["trim"] = True
        return field

    def _default(self, field: dict[str, Any]) -> Any:
        draw, kind = self._draw, field["type"]
        if kind in self._enums:
            values = self._enums[kind]["values"]
            return draw.choice(list(values.values()) if isinstance(values, dict) else values)
        return {
            "string": draw.choice(VALUES),
            "id": "a",
            "int": draw.randint(-5, 5),
            "float": draw.choice([0.0, -1.5, 3, 1e300]),
            "decimal": draw.choice([0, 1.5, "0.10"]),
            "date": "2024-02-29",
            "time": draw.choice(["08:30:00", "23:59:59.999999"]),
            "uuid": "00000000-0000-0000-0000-00000000000a",
            "bool": draw.choice([True, False]),
            "list": [],
            "set": [],
            "map": {},
        }.get(kind)

    def _entity(self, name: str, names: list[str]) -> dict[str, Any]:
        draw = self._draw
        fields = self._fields(draw.randint(1, 7), entity=True)
        key = next((each for each in iter(lambda: lower(draw), None) if each not in fields), "id")
        fields = {key: self._keys[name], **fields}
        entity: dict[str, Any] = {
            "entity": name,
            "doc": self._doc(),
            "group": next(iter(self._groups)),
            "key": key,
        }
        entity["fields"] = fields
        if name in self._composite:
            entity["key"] = self._parts(key, fields)
            if draw.random() < 0.3:
                entity["partition_by"] = draw.choice(entity["key"])
        plain = [each for each, field in fields.items() if self._can_be_found(field) and each != key]
        if draw.random() < 0.4:
            fields[lower(draw)] = {"type": "datetime", "managed": draw.choice(["created", "updated"])}
        entity["views"], entity["references"] = {}, {}
        orders = ["created", "revision"] + [
            each
            for each, field in fields.items()
            if (
                field["type"] in ("string", "id", "int", "float", "datetime", "date", "time", "duration")
                or field.get("digits") in (3, 15)
            )
            and not field.get("secret")
            and not (field["type"] in ("string", "id") and field.get("max_length", 0) > 4096)
            and "managed" not in field
        ]
        for _ in range(draw.randint(0, 3)):
            chosen = draw.sample(plain, min(len(plain), draw.randint(0, 2)))
            view = entity["views"][lower(draw)] = {
                "fields": chosen,
                "order": draw.choice(orders) + draw.choice(["", "", " asc", " desc"]),
                "why": self._doc() or "why",
            }
            lists = [each for each, field in fields.items() if self._has_elements(field)]
            if lists and draw.random() < 0.5:
                view["each"] = draw.choice(lists)
            if draw.random() < 0.2:
                free = {each: field for each, field in fields.items() if "managed" not in field}
                view["where"] = condition(draw, free, self._enums)
        self._refer(entity, fields, names)
        if plain and draw.random() < 0.4:
            chosen = draw.sample(plain, min(len(plain), draw.randint(1, 2)))
            entity["unique"] = {lower(draw): {"fields": chosen, "doc": self._doc()}}
            if all(fields[each]["type"] in ("string", "id") for each in chosen) and draw.random() < 0.5:
                entity["unique"][next(iter(entity["unique"]))]["normalize"] = draw.choice(
                    ["lower", ["lower", "trim"]]
                )
        free = {each: field for each, field in fields.items() if "managed" not in field}
        if draw.random() < 0.5:
            entity["checks"] = {
                lower(draw): {"rule": condition(draw, free, self._enums), "doc": self._doc()}
                for _ in range(2)
            }
        if draw.random() < 0.2:
            entity["retention"] = {"after": "30d"}
            if draw.random() < 0.7:
                entity["retention"]["when"] = condition(draw, free, self._enums)
            if draw.random() < 0.3:
                entity["retention"]["sliding"] = draw.choice([True, False])
            moments = [each for each, field in free.items() if field["type"] == "datetime"]
            if moments and draw.random() < 0.3:
                entity["retention"] = {"at": draw.choice(moments)}
        self._merge(entity, fields)
        if draw.random() < 0.1:
            entity["errors"] = {"not_found": f"{name[:40]}GoneError", "exists": "ThereError"}
        return entity

    def _key(self) -> dict[str, Any]:
        draw = self._draw
        kind = draw.choice(["id", "string", "uuid", "int"])
        made = {"int": [""], "uuid": ["", "uuid7", "uuid4"]}.get(kind, ["", "uuid7", "ksuid", "uuid4"])
        auto = draw.choice(made)
        return {"type": kind, "auto": auto} if auto else {"type": kind}

    def _can_be_found(self, field: dict[str, Any]) -> bool:
        return (
            field["type"] in {*SCALARS} - {"float", "json"} or field["type"] in self._enums
        ) and not field.get("secret")

    def _has_elements(self, field: dict[str, Any]) -> bool:
        of = field.get("of")
        named = of["type"] if isinstance(of, dict) else of
        return field["type"] in ("list", "set") and self._can_be_found({**field, "type": named})

    def _parts(self, key: str, fields: dict[str, Any]) -> list[str]:
        """The parts of a composite key: the key, and one or two more fields at random places."""
        draw = self._draw
        parts = [key]
        for _ in range(draw.randint(1, 2)):
            part = lower(draw)
            if part not in fields:
                fields[part] = {"type": draw.choice(sorted(self._enums))} if self._enums else self._key()
                parts.insert(draw.randint(0, len(parts)), part)
        if len(parts) == 1:
            fields["part"] = {"type": "string", "trim": True}
            parts.append("part")
        return parts

    def _refer(self, entity: dict[str, Any], fields: dict[str, Any], names: list[str]) -> None:
        draw = self._draw
        for _ in range(draw.choice([0, 0, 1, 1, 2])):
            target = draw.choice(names)
            field = lower(draw)
            if field in fields or (target in self._composite and draw.random() < 0.95):
                continue
            fields[field] = {"type": self._keys[target]["type"], "optional": True}
            entity["views"][f"by_{field}"] = {"fields": [field], "order": "created", "why": "the reference"}
            entity["references"][field] = {"entity": target, "on_delete": "cascade"}
            if target == entity["entity"] and draw.random() < 0.5:
                entity["hierarchy"] = {"parent": field}

    def _merge(self, entity: dict[str, Any], fields: dict[str, Any]) -> None:
        draw = self._draw
        for name, field in fields.items():
            of = field.get("of", {}).get("type") if field["type"] == "list" else None
            if of in self._records and draw.random() < 0.7:
                members = self._records[of]["fields"]
                keys = [
                    each
                    for each, member in members.items()
                    if not member.get("optional")
                    and (member["type"] in ("id", "string", "int", "bool") or member["type"] in self._enums)
                ]
                if keys:
                    chosen = draw.sample(keys, draw.randint(1, len(keys)))
                    merge: dict[str, Any] = {"key": chosen}
                    rules = {
                        each: draw.choice(["sum", "min", "max", "first"])
                        for each, member in members.items()
                        if each not in chosen and member["type"] in ("int", "float")
                    }
                    rules |= {
                        each: "union"
                        for each, member in members.items()
                        if each not in chosen
                        and member["type"] == "list"
                        and member["of"]["type"] in ("string", "id", "int", *self._enums)
                    }
                    if rules:
                        merge["rules"] = rules
                    entity.setdefault("merge", {})[name] = merge
