"""Rows of odd tables: each comes over exactly, or is reported with the reason. Keys, names and values are those no one expects."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tests.adopt.database import Adoption, adoption, database, sql, store_url

TABLES = "Weird Schema.select,other.select,everything,domains,bool_key,date_key,checks,parent,child"

REFUSED = {
    "c: expected a finite decimal": 1,
    "not of the field's type: a float would be read back as another value": 1,
    "v: an interval with months, which have no length": 1,
    "x: an array with a null, or of several dimensions": 2,
    "z: a moment that no calendar has, such as infinity": 1,
}


def bring_odd_rows(adopted: Adoption, *options: str) -> None:
    """Adopt the odd database, and check what became of its rows."""
    adopted.schema(*options)
    tables = adopted.tables()
    everything, texts = tables.pop("public.everything"), tables.pop("other.select")
    referring = tables.pop("public.refers_to_unique", None)
    assert referring is None or (referring["refused"], referring["written"]) == (
        1,
        1,
    )  # it refers to that key
    for table in tables.values():
        assert table["equal"] and table["read"] == table["written"] == table["store_rows"], table
    assert (texts["refused"], texts["missing"], texts["written"]) == (1, 1, 2)  # an empty text is no key
    assert (everything["read"], everything["written"], everything["refused"]) == (10, 3, 7)
    assert everything["differing"] == 1 and everything["examples"]["differing"] == [
        "8"
    ]  # digits that no double holds
    assert everything["status"] == 1 and not everything["equal"]
    found = {reason.replace("NaN", "c"): count for reason, count in everything["reasons"].items()}
    assert sum(found.values()) == 7
    for reason, count in REFUSED.items():
        assert sum(each for text, each in found.items() if reason.partition(": ")[2] in text) >= count, found
    package: Any = importlib.import_module(f"{adopted.package}.sync")
    with package.Store.open(store_url(), namespace=adopted.namespace) as store:
        assert store.check().clean
        row = store.everything.get(2**63 - 1)
        assert (str(row.c), row.j, row.t["b"], row.s) == (
            "123456789012345678901234567890.123456789",
            "101",
            ["x"],
            [{"a": 100}, None],
        )
        assert store.select.get(4).column_8 == "名4"
        assert store.date_key.get("infinity").ok is False
    again = adopted.tables()
    assert {(each["written"], each["renewed"]) for each in again.values()} == {(0, 0)}


def test_odd_rows_come_over_or_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopted = adoption(database(sql("odd"), sql("odd_rows")), tmp_path, monkeypatch)
    bring_odd_rows(adopted, "--tables", TABLES)
