"""What docs/from-postgresql.md shows is what the commands print and write."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.adopt.database import database, keyweave, run, store_url
from tests.servers.running import new_namespace
from tests.snippets import blocks

PAGE = Path(__file__).resolve().parents[2] / "docs/from-postgresql.md"
CHANGE = "update orders set total = 7, paid_at = '2024-03-01 00:00+00' where id = md5('order 1')::uuid"


def test_the_example_of_the_page_is_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = database(blocks(PAGE, "sql")[0])
    shown = re.findall(
        r"^\$ keyweave ([^\n]*)\n(.*?)(?=^\$|\Z)", "".join(blocks(PAGE, "console")), re.DOTALL | re.MULTILINE
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("KEYWEAVE_NAMESPACE", new_namespace("page"))
    monkeypatch.setenv("KEYWEAVE_PACKAGE", "adopted_page_store")
    places = {"postgresql://app@db/shop": url, "redis://localhost:6379": store_url()}
    rounds = 0
    for words, output in shown:
        if "--rows" in words:
            if rounds:
                run(url, CHANGE)
            rounds += 1
        done = keyweave(*[places.get(word, word) for word in words.split()])
        assert done.exit_code == 0
        if output:
            assert done.output == output
    assert rounds == 2 and len(shown) == 5
    (order,) = (text for text in blocks(PAGE, "yaml") if "entity: Order" in text)
    assert order == Path("schema/order.yaml").read_text("utf-8")
