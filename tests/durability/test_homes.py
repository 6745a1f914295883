"""A write of a durable store in one of several partitions: the homes that it needs are confirmed before the row, on their masters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from keyweave.changes.change import replacement
from keyweave.commit.commit import commit
from keyweave.connection.redis_py import channel_aio, channel_sync
from keyweave.effects import Send, ServerError, Wait
from keyweave.errors import DurabilityError, OutcomeUnknownError
from keyweave.exchange.confirm import confirmed
from keyweave.exchange.together import together
from keyweave.homes.claim import vacate
from keyweave.homes.home import Homed, place_in
from keyweave.keyspace.keys import Keyspace, Namespace
from keyweave.model.ids import ksuid
from keyweave.store.durability import parse_durability
from keyweave.write.outcome import outcome
from keyweave.write.save import upsert
from tests.harness import FLAVOURS, Harness, exchanges
from tests.partitioned.estate import estate
from tests.scripted import LOST, Scripted
from tests.servers.cluster import Cluster, running_cluster, slot_of
from tests.servers.cluster_node import ClusterNode

LEVELS = {"disk": "WAITAOF", "replicas:1": "WAIT"}
SOON = 1.5
UNBLOCKED = ServerError("UNBLOCKED force unblock from blocking operation, instance state changed")


# -- what is sent, and how an operation goes on, with literal replies


class Durable:
    """A context of the estate with four partitions, on a server or a cluster, whose writes have `replicas:2`."""

    def __init__(self, *, clustered: bool = False) -> None:
        self.scripted = Scripted(sweep_every=0)
        package = estate().PACKAGE
        level = parse_durability("replicas:2")
        assert level is not None
        keyspace = Keyspace(Namespace("app", "v1", "test", "t"), {"deals": 4})
        self.context = replace(
            self.scripted.context,
            package=package,
            keyspace=keyspace,
            retention={},
            durability=level,
            clustered=clustered,
        )
        self.context.state.confirmable.add(level)
        self.there = replace(self.context, homing=True, keyspace=keyspace.only(keyspace.at("deals", 1)))
        self.there.state.confirmable.add(level)
        self.entity = package.entities["Deal"]
        self.place = 1

    def change(self, key: str = "d", **fields: Any) -> Any:
        keyspace = self.context.keyspace
        account = next(
            name for name in map("a{}".format, range(99)) if keyspace.partition("deals", name).index == 1
        )
        deal = estate().Deal(id=key, account_id=account, state=estate().State.OPEN, **fields)
        codec = self.context.codec(self.entity)
        found = replacement(codec, deal, None, codec.prepare(deal, None))
        assert found.prepared is not None
        self.place = place_in(self.entity, found.prepared.snapshot)
        return found

    def create(self, answers: list[Any], **fields: Any) -> Any:
        change = self.change(**fields)
        return self.run(commit(self.there, [change]), answers)

    def replace(self, answers: list[Any]) -> Any:
        """Replace a row."""
        change = self.change()
        codec = self.context.codec(self.entity)
        stored = codec.remember_write(change.record, change.prepared, (5, 4, 0), "op")
        prepared = codec.prepare(change.record, stored)
        return self.run(commit(self.there, [replacement(codec, change.record, stored, prepared)]), answers)

    def run(self, flow: Any, answers: list[Any]) -> Any:
        return self.scripted.run(confirmed(self.context, flow), answers)

    def home(self, epoch: int = 7) -> list[bytes]:
        return [b"HOME", f"{self.place} {epoch}".encode()]

    def sent(self) -> list[list[Any]]:
        """What each exchange sent: scripts by their names."""
        names: dict[Any, str] = {script.sha: name for name, script in self.context.scripts.items()}
        sends = [effect for effect in self.scripted.effects if isinstance(effect, Send)]
        return [
            [
                names.get(command[1], command[0]) if len(command) > 1 else command[0]
                for command in send.commands
            ]
            for send in sends
        ]


OK = [b"OK", 2, 1, 0]


def home_of(world: Durable) -> list[bytes]:
    """The home of the row that a world writes."""
    world.change()
    return world.home()


def test_a_home_is_confirmed_before_the_row_in_the_exchange_that_claims_it() -> None:
    world = Durable()
    assert world.create([[home_of(world), 2], [OK, 2]]) is None
    assert world.sent() == [["claim_home", "WAIT"], ["apply", "WAIT"]]


def test_a_home_that_is_there_is_written_again_so_that_it_can_be_confirmed() -> None:
    """WAIT confirms what its connection has written. A home may be there that its writer did not have confirmed."""
    world = Durable()
    world.create([[home_of(world), 2], [OK, 2]])
    claim = world.scripted.sent()[0]
    keys = int(claim[2])
    assert claim[3 + keys :][4] == 1


def test_a_store_that_confirms_nothing_writes_no_home_again() -> None:
    world = Durable()
    object.__setattr__(world.there, "durability", None)
    object.__setattr__(world.context, "durability", None)
    world.create([[home_of(world)], [OK]])
    claim = world.scripted.sent()[0]
    assert claim[3 + int(claim[2]) :][4] == 0
    assert world.sent() == [["claim_home"], ["apply"]]


@pytest.mark.parametrize("clustered", [False, True])
def test_homes_of_several_partitions_take_one_exchange(clustered: bool) -> None:
    """One server confirms once for all. A cluster is asked behind each, because they may be on several masters."""
    world = Durable(clustered=clustered)
    home = home_of(world)
    claims = [home, 2, home, 2] if clustered else [home, home, 2]
    world.create([claims, [OK, 2]], code="c")
    expected = ["claim_home", "WAIT"] * 2 if clustered else ["claim_home", "claim_home", "WAIT"]
    assert world.sent() == [expected, ["apply", "WAIT"]]


@pytest.mark.parametrize("reply", [1, ServerError("ERR no"), None])
def test_a_row_whose_home_was_not_confirmed_is_not_confirmed_either(reply: Any) -> None:
    world = Durable()
    with pytest.raises(DurabilityError):
        world.create([[home_of(world), reply], [OK, 2]])
    assert world.sent() == [["claim_home", "WAIT"], ["apply", "WAIT"]]


def test_the_home_may_take_half_of_the_time_and_the_row_what_is_left() -> None:
    world = Durable()
    world.create([[home_of(world), 2], [OK, 2]])
    first, second = [command[2] for command in world.scripted.sent() if command[0] == "WAIT"]
    assert first == second // 2


def test_a_master_of_the_home_that_became_a_replica_meanwhile_is_asked_again() -> None:
    world = Durable()
    home = home_of(world)
    assert world.create([[home, UNBLOCKED], [home, 2], [OK, 2]]) is None
    assert world.sent() == [["claim_home", "WAIT"], ["claim_home", "WAIT"], ["apply", "WAIT"]]


def test_an_unknown_script_is_no_home() -> None:
    world = Durable()
    home = home_of(world)
    unknown = ServerError("NOSCRIPT No matching script")
    assert world.create([[unknown, 0], [home, 2], [OK, 2]]) is None


def test_a_fence_is_confirmed_before_the_home_is_taken_over() -> None:
    world = Durable()
    other = [b"HOME", f"{(home_of(world), world.place)[1] ^ 2} 7".encode()]
    assert world.create([[other, 2], [1, 2], [world.home(8), 2], [OK, 2]]) is None
    assert world.sent() == [
        ["claim_home", "WAIT"],
        ["fence_home", "WAIT"],
        ["claim_home", "WAIT"],
        ["apply", "WAIT"],
    ]


def test_a_home_in_the_way_that_could_not_be_fenced_for_sure_is_an_unconfirmed_write() -> None:
    world = Durable()
    other = [b"HOME", f"{(home_of(world), world.place)[1] ^ 2} 7".encode()]
    with pytest.raises(DurabilityError, match="0 of 2 replicas"):
        world.create([[other, 2], [1, 0], [world.home(8), 2], [OK, 2]])


def test_the_home_that_a_row_has_is_confirmed_beside_its_change() -> None:
    """Another writer may not have had it confirmed, and the row is not found without it."""
    world = Durable(clustered=True)
    assert world.replace([[OK, 2, home_of(world), 2]]) is None
    assert world.sent() == [["apply", "WAIT", "claim_home", "WAIT"]]


def test_one_server_confirms_a_row_and_its_home_at_once() -> None:
    world = Durable()
    assert world.replace([[OK, home_of(world), 2]]) is None
    assert world.sent() == [["apply", "claim_home", "WAIT"]]


@pytest.mark.parametrize("replies", [[OK, 2, "home", 1], [OK, 1, "home", 2], [OK, 2, "elsewhere", 2]])
def test_a_change_is_confirmed_only_with_its_home(replies: list[Any]) -> None:
    world = Durable(clustered=True)
    homes = {"home": home_of(world), "elsewhere": [b"HOME", f"{world.place ^ 2} 7".encode()]}
    with pytest.raises(DurabilityError):
        world.replace([[homes.get(each, each) if isinstance(each, str) else each for each in replies]])


def test_a_change_whose_home_cannot_be_reached_is_there_and_not_confirmed() -> None:
    world = Durable(clustered=True)
    home_of(world)
    refused = ServerError("OOM command not allowed")
    with pytest.raises(DurabilityError, match=r"its home could not be confirmed: .* memory limit"):
        world.replace([[OK, 2, refused, 0]])


def sent_to_remove(replicas: int) -> list[list[str]]:
    """Remove a home whose fence so many replicas have confirmed; return what was sent."""
    world = Durable()
    thing = Homed(world.entity, "", "d")
    answers = [[b"1 7"], [1, replicas], *([[[b"GONE"]]] if replicas == 2 else [])]
    assert world.run(vacate(world.context, thing), answers) is (replicas == 2)
    return world.sent()


def test_a_home_is_removed_when_its_fence_is_confirmed() -> None:
    assert sent_to_remove(2) == [["HGET"], ["fence_home", "WAIT"], ["release_home"]]


def test_a_home_whose_fence_was_not_confirmed_stays_and_that_is_no_error() -> None:
    assert sent_to_remove(1) == [["HGET"], ["fence_home", "WAIT"]]


def test_a_lost_row_keeps_in_mind_that_its_home_was_not_confirmed() -> None:
    world = Durable()
    home = home_of(world)
    with pytest.raises(OutcomeUnknownError) as caught:
        world.create([[home, 0], *[LOST] * 2000])
    assert caught.value.unsettled.unconfirmed == "0 of 2 replicas had confirmed it"


def test_writes_that_run_at_the_same_time_share_an_exchange_and_each_learns_of_its_own() -> None:
    world = Durable(clustered=True)
    home = home_of(world)
    flows = [confirmed_alone(world, key) for key in ("d", "e")]
    with pytest.raises(DurabilityError):
        world.run(together(world.context, flows), [[home, 2, home, 1], [OK, 2, OK, 2]])
    assert world.sent() == [["claim_home", "WAIT"] * 2, ["apply", "WAIT"] * 2]


def confirmed_alone(world: Durable, key: str) -> Any:
    return commit(world.there, [world.change(key)])


def test_every_caller_of_a_group_commit_learns_that_the_home_was_not_confirmed() -> None:
    """The first caller is alone in its plan, and the two that come meanwhile share one."""
    world = Durable()
    records = [world.change(worth=number).record for number in range(3)]
    flows = [confirmed(world.there, upsert(world.there, world.entity, record)) for record in records]
    first, *waiting = [next(flow) for flow in flows]
    assert isinstance(first, Send)
    assert [type(effect) for effect in waiting] == [Wait, Wait]
    assert isinstance(flows[0].send([world.home(), 2]), Send)
    with pytest.raises(StopIteration):
        flows[0].send([OK, 2])
    assert isinstance(flows[1].send(True), Wait)
    shared = flows[2].send(True)
    assert isinstance(shared, Send)
    with pytest.raises(DurabilityError, match="1 of 2 replicas") as sender:
        flows[2].send([[b"OK", 5, 1, 0], world.home(), 1])
    with pytest.raises(DurabilityError, match="1 of 2 replicas") as other:
        flows[1].send(True)
    assert [error.value.result.worth for error in (other, sender)] == [1, 2]


@pytest.mark.parametrize("replicas", [2, 1])
def test_settling_an_unknown_outcome_confirms_the_home_that_was_not_confirmed(replicas: int) -> None:
    world = Durable()
    home = home_of(world)
    with pytest.raises(OutcomeUnknownError) as caught:
        world.create([[home, 0], *[LOST] * 2000])
    answers = [[[b"101", b"0"]], [[b"REPLAYED", b"OK 5 4 0"], 1, 2], [world.home(), replicas]]
    if replicas == 2:
        assert world.run(outcome(world.context, caught.value), answers).applied is True
    else:
        with pytest.raises(DurabilityError, match="1 of 2 replicas") as late:
            world.run(outcome(world.context, caught.value), answers)
        assert late.value.result.applied is True
    assert world.sent()[-1] == ["claim_home", "WAIT"]


# -- which commands go to which master of a real cluster


class Sent(NamedTuple):
    """One pipeline to one node."""

    port: int
    commands: tuple[Any, ...]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster(appendonly="yes", appendfsync="always") as running:
        yield running


class Client:
    """A store of either flavour on sixteen partitions of a cluster, and what it sends to each node."""

    def __init__(self, flavour: str, cluster: Cluster, namespace: str, **options: Any) -> None:
        self.flavour, self.cluster = flavour, cluster
        self.runner = asyncio.Runner()
        module = getattr(estate(), flavour)
        options = {"sweep_every": 0, "partitions": {"deals": 16}, **options}
        self.store = self.do(module.Store.open(cluster.url, namespace=namespace, **options))
        self.context = self.store.session.context

    def do(self, result: Any) -> Any:
        if hasattr(result, "__await__"):
            return self.runner.run(_awaited(result))
        return result

    def close(self) -> None:
        self.do(self.store.close())
        self.runner.close()

    def master_of(self, partition: Any) -> ClusterNode:
        return self.cluster.owner(slot_of(partition.clock))

    def apart(self, account: str) -> list[str]:
        """Keys of deals whose homes are on one other master than the rows of an account."""
        rows = self.master_of(self.context.keyspace.partition("deals", account))
        homes = self.cluster.other_master(rows)
        names = [f"deal{each}" for each in range(100)]
        return [
            name for name in names if self.master_of(self.context.keyspace.partition("deals", name)) is homes
        ]

    def deal(self, key: str, account: str = "a", **fields: Any) -> Any:
        return estate().Deal(id=key, account_id=account, state=estate().State.OPEN, **fields)

    def named(self, command: Any) -> str:
        names: dict[Any, str] = {script.sha: name for name, script in self.context.scripts.items()}
        names |= {script.text: name for name, script in self.context.scripts.items()}
        return names.get(command[1], command[0])


async def _awaited(result: Any) -> Any:
    return await result


@contextmanager
def opened(flavour: str, cluster: Cluster, namespace: str | None = None, **options: Any) -> Iterator[Client]:
    found = Client(flavour, cluster, namespace or ksuid(), **options)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def watching(monkeypatch: pytest.MonkeyPatch, flavour: str) -> Iterator[list[Sent]]:
    """Collect what is sent to each node."""
    sent: list[Sent] = []
    kind = (channel_sync if flavour == "sync" else channel_aio).RedisPyChannel
    exchange: Any = kind.exchange

    def keeping(self: Any, commands: Any, *more: Any) -> Any:
        sent.append(Sent(self.settings.port, tuple(map(tuple, commands))))
        return exchange(self, commands, *more)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "exchange", keeping)
        yield sent


def prepare_account(client: Client, name: str = "a") -> None:
    client.do(client.store.accounts.create(estate().Account(id=name, email=f"{name}@x")))


def warm_up(client: Client) -> None:
    """Let every server know the scripts."""
    accounts = [f"warm{number}" for number in range(40)]
    for name in accounts:
        prepare_account(client, name)
        client.do(client.store.deals.create(client.deal(f"of-{name}", name)))
        client.do(client.store.deals.delete(f"of-{name}"))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_home_and_row_are_each_confirmed_on_their_master(
    flavour: str, level: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(flavour, cluster, durable=level) as client:
        warm_up(client)
        prepare_account(client)
        key = client.apart("a")[0]
        rows = client.master_of(client.context.keyspace.partition("deals", "a"))
        homes = client.master_of(client.context.keyspace.partition("deals", key))
        with watching(monkeypatch, flavour) as sent:
            client.do(client.store.deals.create(client.deal(key)))
        assert [(each.port, *map(client.named, each.commands)) for each in sent] == [
            (homes.port, "claim_home", LEVELS[level]),
            (rows.port, "apply", LEVELS[level]),
        ]
        with watching(monkeypatch, flavour) as sent:
            client.do(client.store.deals.update(key, worth=3))
        assert sorted((each.port, *map(client.named, each.commands)) for each in sent) == sorted(
            [(homes.port, "claim_home", LEVELS[level]), (rows.port, "apply", LEVELS[level])]
        )
        with watching(monkeypatch, flavour) as sent:
            client.do(client.store.deals.delete(key))
        after = [(each.port, *map(client.named, each.commands)) for each in sent]
        assert (rows.port, "fence_home", LEVELS[level]) in after
        assert (homes.port, "release_home") in after
        assert any(each[0] == rows.port and each[-1] == LEVELS[level] for each in after[:-3])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_it_takes_as_many_exchanges_as_without_confirmation(
    flavour: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of bulk writes and transactions; each master is asked for one confirmation in each of them."""
    with opened(flavour, cluster) as client:
        warm_up(client)
        for account in "abcd":
            prepare_account(client, account)
        keys = [f"m{number}" for number in range(24)]
        bulk = [client.deal(key, "abcd"[number % 4]) for number, key in enumerate(keys)]
        calls: dict[str, Callable[[Any], Any]] = {
            "create": lambda store: store.deals.create(client.deal("one", "a", code="one")),
            "create_many": lambda store: store.deals.create_many(bulk),
            "update": lambda store: store.deals.update("m3", account_id="d", code="other"),
            "upsert": lambda store: store.deals.upsert(client.deal("m2", "c", code="third")),
            "upsert_many": lambda store: store.deals.upsert_many(bulk),
            "transact": lambda store: store.transact(in_one_step(client, flavour)),
            "delete": lambda store: store.deals.delete("one"),
            "delete_many": lambda store: store.deals.delete_many([*keys, "t0", "t1", "t2"]),
        }
        durable = client.store.durable("replicas:1")
        client.do(durable.deals.create(client.deal("first")))  # asks every master once what it can confirm
        taken: list[dict[str, int]] = []
        for store in (client.store, durable):
            taken.append({})
            for name, call in calls.items():
                stores = Harness(flavour, "", client.runner, [client.store])
                with exchanges(stores) as pipelines, watching(monkeypatch, flavour) as sent:
                    client.do(call(store))
                taken[-1][name] = len(pipelines)
                for each in sent:
                    assert sum(command[0] in LEVELS.values() for command in each.commands) <= 1
        plain, confirmed = taken
        assert plain == confirmed


def in_one_step(client: Client, flavour: str) -> Callable[[Any], Any]:
    deals = [client.deal(f"t{number}", "a", code=f"t{number}") for number in range(3)]

    def blocking(tx: Any) -> None:
        for each in deals:
            tx.deals.create(each)

    async def waiting(tx: Any) -> None:
        for each in deals:
            await tx.deals.create(each)

    return blocking if flavour == "sync" else waiting


@contextmanager
def paused(node: ClusterNode) -> Iterator[None]:
    node.pause()
    try:
        yield
    finally:
        node.resume()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_row_whose_home_has_no_replica_that_confirms_is_there_and_not_confirmed(
    flavour: str, cluster: Cluster
) -> None:
    with opened(flavour, cluster, durable="replicas:1", deadline=SOON) as client:
        warm_up(client)
        prepare_account(client)
        key, other, *_ = client.apart("a")
        homes = client.master_of(client.context.keyspace.partition("deals", key))
        with paused(cluster.replica_of(homes)):
            with pytest.raises(DurabilityError, match="0 of 1 replicas had confirmed it") as caught:
                client.do(client.store.deals.create(client.deal(key)))
            assert caught.value.result.id == key
            with pytest.raises(DurabilityError) as bulk:
                client.do(client.store.deals.create_many([client.deal(other)]))
            assert [each.id for each in bulk.value.result] == [other]
        assert {each.id for each in client.do(client.store.deals.get_many([key, other]))} == {key, other}


# -- a failover of the master that has the homes


def test_an_acknowledged_row_is_found_by_its_key_after_the_master_of_its_home_was_lost(
    cluster: Cluster,
) -> None:
    """The link of the master's replica is cut first, so that the failover loses what it acknowledged."""
    with ExitStack() as stack:
        client = stack.enter_context(opened("sync", cluster, durable="replicas:1", deadline=SOON))
        warm_up(client)
        prepare_account(client)
        *before, plain, late = client.apart("a")[:6]
        homes = client.master_of(client.context.keyspace.partition("deals", plain))
        for key in before:
            client.store.deals.create(client.deal(key))
        replica = cluster.replica_of(homes)
        stack.callback(cluster.restore)
        stack.enter_context(cluster.alert())
        replica.pause()
        homes.ask("CLIENT", "KILL", "TYPE", "replica")
        client.store.durable(None).deals.create(client.deal(plain))
        with pytest.raises(DurabilityError):
            client.store.deals.create(client.deal(late))
        homes.kill()
        replica.resume()
        cluster.fail_over(replica, "TAKEOVER")
        with opened("sync", cluster, client.context.keyspace.namespace.tenant) as later:
            assert [key for key in before if later.store.deals.find(key) is None] == []
            rows = {each.id for each in later.store.deals.by_account("a")}
            assert plain in rows and later.store.deals.find(plain) is None
