"""The number of partitions of a namespace: the first store sets it, and every other one has to agree."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from compozy_store.package import PACKAGE
from keyweave.errors import ConfigurationError, SchemaMismatchError
from keyweave.model.ids import ksuid
from keyweave.opening.prepare import prepare
from keyweave.write.require_empty import require_empty
from tests.partitioned.estate import Estate, estate, opened


@pytest.fixture
def world() -> Iterator[Estate]:
    with opened(ksuid()) as found:
        yield found


def test_the_first_store_sets_the_number_and_others_take_it() -> None:
    namespace = ksuid()
    with opened(namespace, partitions={"deals": 4}) as first:
        assert first.context.keyspace.numbers == {"deals": 4}
        with opened(namespace) as second:
            assert second.context.keyspace.numbers == {"deals": 4}
        text = (
            "group deals: the namespace has 4 partitions, and the store was opened with 16; leave out partitions, "
            "or open it with partitions={'deals': 4}"
        )
        with pytest.raises(SchemaMismatchError) as error, opened(namespace, partitions={"deals": 16}):
            pass
        assert str(error.value) == text


def test_the_number_of_a_new_namespace_is_that_of_the_schema() -> None:
    with opened(ksuid()) as world:
        assert world.context.keyspace.numbers == {"deals": 8}
        registry = world.context.keyspace.at("deals", 0).schema
        assert world.ask("HGET", registry, "partitions") == b"8"


def test_a_namespace_that_began_with_one_partition_keeps_it_and_has_no_number() -> None:
    namespace = ksuid()
    with opened(namespace, partitions={"deals": 1}) as one:
        assert one.context.router is None
        assert one.ask("HGET", one.context.keyspace.at("deals", 0).schema, "partitions") is None
        one.account("a")
        one.store.deals.create(one.deal("d", "a"))
        one.account("b")
        assert one.store.deals.update("d", account_id="b").account_id == "b"
        assert one.homes() == {}
        with opened(namespace) as other:
            assert other.context.keyspace.numbers == {"deals": 1}
        text = "has 1 partition, and the store was opened with 8"
        with (
            pytest.raises(SchemaMismatchError, match=text),
            opened(namespace, partitions={"deals": 8}),
        ):
            pass


def test_of_stores_that_open_a_namespace_at_once_with_other_numbers_one_number_wins(world: Estate) -> None:
    def open_one(number: int) -> tuple[int, bool]:
        try:
            with opened(namespace, partitions={"deals": number}) as world:
                assert world.context.keyspace.numbers == {"deals": number}
                return number, True
        except SchemaMismatchError:
            return number, False

    for _ in range(5):
        namespace = ksuid()
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(open_one, [1, 2, 4, 1, 2, 4]))
        with opened(namespace) as last:
            (number,) = last.context.keyspace.numbers.values()
        assert {each for each, won in found if won} == {number}


def test_groups_whose_rows_refer_to_other_partitions_can_have_one_only() -> None:
    text = "group auth can have one partition only: APIKey.user_id refers to a User"
    with pytest.raises(ConfigurationError, match=text):
        prepare(PACKAGE, "redis://unused", partitions={"auth": 4})


def test_what_is_not_supported_says_so(world: Estate) -> None:
    with pytest.raises(
        ConfigurationError, match="not supported in a group with several partitions: deals has 8"
    ):
        world.store._session.run(
            require_empty(world.context, estate().package.PACKAGE.entities["Deal"], "all", ())
        )
