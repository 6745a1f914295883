"""The protocol on a real server: rows of one key in several partitions, one behind another."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from keyweave.connection.direct.link_sync import SocketLink
from keyweave.connection.settings import parse_url
from keyweave.effects import Call, Effect, Send, Sleep
from keyweave.errors import AlreadyExistsError, UniqueViolationError
from keyweave.homes.claim import claim, fence, find_home, vacate
from keyweave.homes.home import Home, Homed
from keyweave.homes.write import delete_homed, find_homed, insert_homed, replace_homed
from keyweave.keyspace.keys import Keyspace, Namespace
from keyweave.read.strategy import BY_SCRIPT
from keyweave.store.context import Context
from keyweave.store.policy import Policy
from keyweave.store.retention import resolve
from tests.servers.running import configured_server
from tools.simulate.clients.arena import arena, kind

ITEM = "Item"


class Site:
    """Four partitions on one server."""

    def __init__(self, link: SocketLink) -> None:
        package = arena()
        self.link = link
        self.keyspace = Keyspace(Namespace("a", "v", "s", "homes"), {"arena": 4}, package.stored)
        self.context = Context(
            package, self.keyspace, Policy(), "server", resolve(package, {}, {}), BY_SCRIPT
        )

    def run(self, flow: Generator[Effect, Any, Any]) -> Any:
        answer: Any = None
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration as stop:
                return stop.value
            answer = None
            if isinstance(effect, Send):
                answer = self.link.exchange(effect.commands)
            elif isinstance(effect, Sleep):
                time.sleep(effect.seconds)
            elif isinstance(effect, Call):
                answer = effect.function(*effect.arguments)

    def insert(self, index: int, key: str, code: str | None = None) -> Any:
        record = kind(ITEM).record(id=key, token="x", code=code, state="open")
        prepared = self.context.codec(kind(ITEM)).prepare(record, None)
        return self.run(insert_homed(self.context, self.keyspace.at("arena", index), prepared))

    def where(self, key: str) -> int | None:
        found = self.run(find_homed(self.context, kind(ITEM), key))
        return found[0].index if found is not None else None

    def home(self, value: str, unique: str = "") -> Home | None:
        found: Home | None = self.run(find_home(self.context, Homed(kind(ITEM), unique, value)))
        return found

    def delete(self, key: str) -> Any:
        return self.run(delete_homed(self.context, kind(ITEM), key))


@pytest.fixture
def site() -> Iterator[Site]:
    with configured_server() as server:
        link = SocketLink(parse_url(server.url), None)
        yield Site(link)
        link.close()


def test_a_key_is_in_one_partition(site: Site) -> None:
    site.insert(1, "k")
    assert site.where("k") == 1
    for index in (1, 2):
        with pytest.raises(AlreadyExistsError):
            site.insert(index, "k")
    assert site.delete("k") is True
    assert (site.where("k"), site.home("k")) == (None, None)
    assert site.delete("k") is False
    site.insert(2, "k")
    assert site.where("k") == 2


def test_a_unique_value_is_in_one_partition(site: Site) -> None:
    site.insert(0, "k", "red")
    for index in (0, 3):
        with pytest.raises(UniqueViolationError):
            site.insert(index, "other", "RED")
    assert site.where("other") is None
    site.delete("k")
    assert site.home("red", "code") is None
    site.insert(3, "other", "red")
    taken = site.home("red", "code")
    assert (site.where("other"), taken.place if taken is not None else None) == (3, 3)


def test_a_value_moves_with_its_row(site: Site) -> None:
    site.insert(0, "k", "red")
    codec = site.context.codec(kind(ITEM))
    partition, stored = site.run(find_homed(site.context, kind(ITEM), "k"))
    record = codec.fresh_record(stored)
    record.code = "blue"
    assert site.run(replace_homed(site.context, partition, stored, codec.prepare(record, stored)))
    assert site.home("red", "code") is None
    assert site.home("blue", "code") is not None
    outdated = codec.fresh_record(stored)
    outdated.code = "green"
    prepared = codec.prepare(outdated, stored)
    assert site.run(replace_homed(site.context, partition, stored, prepared)) is None
    site.insert(3, "other", "red")


def test_a_home_without_a_row_gives_way(site: Site) -> None:
    thing = Homed(kind(ITEM), "", "k")
    left = site.run(claim(site.context, thing, 1))
    assert site.where("k") is None
    site.insert(2, "k")
    taken = site.home("k")
    assert taken is not None
    assert (taken.place, left.place) == (2, 1)
    assert taken.epoch > left.epoch
    assert site.run(vacate(site.context, thing)) is False
    assert site.home("k") == taken


def test_an_insert_under_a_fenced_epoch_gets_another_one(site: Site) -> None:
    thing = Homed(kind(ITEM), "", "k")
    left = site.run(claim(site.context, thing, 1))
    assert site.run(fence(site.context, thing, left)) is True
    site.insert(1, "k")
    taken = site.home("k")
    assert taken is not None
    assert taken.place == 1
    assert taken.epoch > left.epoch
    key = site.keyspace.at("arena", 1).fence(ITEM, "", "k")
    (epoch,) = site.link.exchange((("HGET", key, "epoch"),))
    assert int(epoch) == left.epoch
    (life,) = site.link.exchange((("PTTL", key),))
    assert 0 < life <= 900_000
