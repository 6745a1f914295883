"""A trimmed field is found by a value that is not trimmed, in every way in which rows are looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyweave.errors import NotFoundError, ValidationError
from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import written
from tests.generator.example import PACKAGE
from tests.servers.running import new_namespace, server_url

OWNER = """\
entity: Owner
group: sales
key: code
fields:
  code: {type: string, trim: true}
  email: {type: string, trim: true, optional: true}
  team: {type: string, trim: true}
  seen: {type: datetime, optional: true}
unique:
  email: {fields: [email]}
  both: {fields: [team, email], normalize: lower}
views:
  by_team: {fields: [team], order: created, why: A team.}
  all: {fields: [], order: created, why: All.}
"""

CAR = """\
entity: Car
group: sales
key: id
fields:
  id: {type: id}
  owner: {type: string, trim: true, optional: true}
  colour: {type: string, trim: true}
  parent: {type: string, trim: true, optional: true}
views:
  by_owner: {fields: [owner], order: created, why: The owner.}
  by_parent: {fields: [parent], order: created, why: The tree.}
  by_colour: {fields: [colour], order: created, why: A colour.}
references:
  owner: {entity: Owner, on_delete: cascade}
  parent: {entity: Car, on_delete: cascade}
hierarchy: {parent: parent}
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Any:
    files = {
        "package.yaml": PACKAGE.replace("shop_store", "trim_store"),
        "owner.yaml": OWNER,
        "car.yaml": CAR,
    }
    home: Path = tmp_path_factory.mktemp("trim")
    found = written(load_sources(files), home)
    __import__("trim_store.sync")
    return found


@pytest.fixture
def store(package: Any) -> Iterator[Any]:
    with package.sync.Store.open(server_url(), namespace=new_namespace("trim")) as opened:
        opened.owners.create(package.Owner(code=" a ", email=" a@b.c\n", team="red "))
        opened.cars.create(package.Car(id="1", owner=" a", colour="\tblue"))
        yield opened


def test_by_its_key(store: Any) -> None:
    owner = store.owners.get(" a\n")
    assert owner.code == "a"
    assert store.owners.find("a ") == owner
    assert store.owners.get_many([" a", "b "]) == [owner, None]
    assert store.owners.exists(" a") is True
    assert store.transact(lambda tx: tx.owners.get_for_update(" a ")) == owner
    assert store.owners.get_with_cars(" a")[0] == owner
    assert store.owners.change(" a ", lambda row: None).code == "a"
    assert store.owners.touch_seen(" a ") is True
    assert store.owners.discard(" b ") is False
    store.owners.delete(" a ")
    with pytest.raises(NotFoundError):
        store.owners.get("a")


def test_by_a_unique_value_and_in_a_view(store: Any) -> None:
    owner = store.owners.get("a")
    assert store.owners.get_by_email("  a@b.c ") == store.owners.find_by_email("a@b.c") == owner
    assert store.owners.get_by_both(" RED", "a@B.c ") == owner
    assert store.owners.by_team(" red").page().rows == [owner]
    assert store.owners.by_team(" red").list() == list(store.owners.by_team("red ")) == [owner]
    assert store.owners.by_team("red\t").count() == 1
    ((_, cars),) = store.owners.with_cars(store.owners.where(code=" a "))
    assert [car.id for car in cars] == ["1"]


def test_by_a_filter(store: Any) -> None:
    owner = store.owners.get("a")
    for filters in ({"team": " red"}, {"code": " a "}, {"team": "red ", "email": " a@b.c"}):
        assert store.owners.where(**filters).page().rows == [owner]
        assert store.owners.where(**filters).list() == list(store.owners.where(**filters)) == [owner]
        assert store.owners.where(**filters).first() == owner
        assert store.owners.where(**filters).explain().entity == "Owner"
    assert store.owners.where().having(store.cars.where(colour=" blue ")).page().rows == [owner]
    assert (
        store.owners.with_cars(store.owners.where().having(store.cars.where(colour=" blue "))).first()[0]
        == owner
    )
    assert store.owners.where().having(store.cars.where(colour="red")).page().rows == []


def test_what_is_no_text_is_refused_as_ever(store: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: store.owners.get(1),
        lambda: store.owners.by_team(1).page(),
        lambda: store.owners.get_by_email(None),
        lambda: store.owners.where(team=1).page(),
    ]
    for call in calls:
        with pytest.raises(ValidationError):
            call()
