"""Deliveries to the nodes of a cluster, driven with literal replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from keyweave.connection.redis_py.cluster.deliver import deliver
from keyweave.connection.redis_py.cluster.route import by_owner, only_slot, scanned_tag, slot_of, slot_of_tag
from keyweave.connection.redis_py.cluster.slots import Node, SlotMap
from keyweave.connection.redis_py.cluster.steps import Exchange, read_slots
from keyweave.effects import Command, ConnectionFailure, ServerError, Word
from keyweave.errors import ConfigurationError
from keyweave.keyspace.keys import Keyspace, Namespace

A, B, C = (Node("a", 1), Node("b", 2), Node("c", 3))
FIRST, SECOND = "{x}:k", "{z}:k"
"""A has the slot of the first key, and C that of the second."""


def slots_reply(*ranges: tuple[int, int, Node]) -> list[Any]:
    return [[first, last, [node.host.encode(), node.port, b"id", []]] for first, last, node in ranges]


SLOTS = slots_reply((0, 5000, B), (5001, 12000, C), (12001, 16383, A))


def failed() -> ConnectionFailure:
    return ConnectionFailure("connect", "refused", sent=False)


class Driven:
    """Carries out a delivery with literal outcomes, and keeps what was sent."""

    def __init__(self, slots: SlotMap | None = None) -> None:
        self.slots = slots or SlotMap([A])
        if slots is None:
            self.slots.learn(SLOTS, A)
        self.sent: list[tuple[str, list[Command]]] = []

    def run(self, commands: Sequence[Command], *outcomes: Any) -> Any:
        return self.drive(deliver(self.slots, commands), *outcomes)

    def drive(self, steps: Any, *outcomes: Any) -> Any:
        left = list(outcomes)
        step: Exchange | list[Exchange]
        move: Callable[[Any], Any] = steps.send
        given: Any = None
        while True:
            try:
                step = move(given)
            except StopIteration as stop:
                assert left == []
                return stop.value
            if type(step) is list:
                given = [self.outcome(each, left.pop(0)) for each in step]
                move = steps.send
                continue
            assert isinstance(step, Exchange)
            self.sent.append((step.node.host, list(step.commands)))
            given = left.pop(0)
            failing = isinstance(given, ConnectionFailure)
            if failing:
                self.slots.suspect(step.node)
            move = steps.throw if failing else steps.send

    def outcome(self, step: Exchange, given: Any) -> Any:
        self.sent.append((step.node.host, list(step.commands)))
        if isinstance(given, ConnectionFailure):
            self.slots.suspect(step.node)
        return given


@pytest.mark.parametrize("word", ["MOVED", "ASK"])
def test_a_confirmation_follows_its_write_to_another_node(word: str) -> None:
    """The first node has confirmed what it was sent before, which does not include the write."""
    slot = slot_of(("GET", FIRST))
    write: Command = ("SET", FIRST, "v")
    wait: Command = ("WAIT", 1, 100)
    driven = Driven()
    moved = ServerError(f"{word} {slot} b:2")
    again: list[Any] = [[SLOTS]] if word == "MOVED" else []
    final: list[Any] = [b"OK", 0] if word == "MOVED" else [b"OK", b"OK", b"OK", 0]
    assert driven.run([write, wait], [moved, 1], *again, final) == [b"OK", 0]
    node, commands = driven.sent[-1]
    assert node == "b"
    assert [command for command in commands if command[0] != "ASKING"] == [write, wait]


def test_a_node_confirms_once_what_several_commands_wrote() -> None:
    """It would wait for each of them in turn otherwise. The last confirmation is behind all of them."""
    wait: Command = ("WAIT", 1, 100)
    writes: list[Command] = [("SET", FIRST, "v"), ("SET", SECOND, "v"), ("SET", FIRST, "w")]
    pipeline = [each for write in writes for each in (write, wait)]
    driven = Driven()
    found = driven.run(pipeline, [b"OK", b"OK", 0], [b"OK", 1])
    assert found == [b"OK", 0, b"OK", 1, b"OK", 0]
    assert driven.sent == [("a", [writes[0], writes[2], wait]), ("c", [writes[1], wait])]


def test_a_confirmation_that_was_left_out_does_not_count_a_write_that_moved() -> None:
    moved = ServerError(f"MOVED {slot_of(('GET', FIRST))} b:2")
    wait: Command = ("WAIT", 1, 100)
    first, again = ("SET", FIRST, "v"), ("SET", FIRST, "w")
    driven = Driven()
    found = driven.run([first, wait, again, wait], [moved, moved, 1], [SLOTS], [b"OK", b"OK", 0])
    assert found == [b"OK", 0, b"OK", 0]
    assert driven.sent[-1] == ("b", [first, again, wait])


def test_every_key_of_a_partition_has_its_slot_whatever_follows() -> None:
    keyspace = Keyspace(Namespace("app", "v1", "dev", "ten{an}t:*"), {"g": 1})
    partition = keyspace.partition("g")
    slot = slot_of_tag(partition.tag[:-1])
    commands: list[Command] = [
        ("GET", partition.document("E", "{k}")),
        ("EVALSHA", "sha", 2, partition.clock, partition.expiry, "{other}"),
        ("ZINTERCARD", 2, partition.view("E", "v", ("x",)), partition.expiry),
        ("HGET", partition.schema.encode(), "f"),
    ]
    assert {slot_of(command) for command in commands} == {slot}
    assert only_slot([commands[0], ("TIME",), commands[1]]) == slot
    assert only_slot([commands[0], ("GET", "{other}:k")]) is None
    assert only_slot([("TIME",)]) is None
    scan: Command = ("SCAN", 0, "MATCH", keyspace.pattern_of_indexes(partition), "COUNT", 10)
    assert scanned_tag(scan) == partition.tag[:-1]
    assert scanned_tag(("SCAN", 0, "MATCH", keyspace.patterns()[0])) == partition.tag[:-1]
    assert scanned_tag(("SCAN", 0, "MATCH", keyspace.pattern())) is None


def test_commands_are_divided_by_the_owners_of_their_first_keys() -> None:
    owner = Driven().slots.owner
    commands: list[Command] = [
        ("GET", SECOND),
        ("EVALSHA", "sha", 1, FIRST, "{z}:other"),
        ("MGET", FIRST.encode(), FIRST.encode()),
        ("ZRANGE", SECOND, 0, 9),
    ]
    owners: dict[Word, Node] = {}
    for _ in range(2):
        assert by_owner(commands, owners, owner) == {C: [0, 3], A: [1, 2]}
        assert owners == {"{z": C, "{x": A, b"{x": A}
    assert by_owner([("GET", SECOND), ("GET", FIRST), ("TIME",)], owners, owner) == {C: [0], A: [1, 2]}
    assert by_owner([("TIME",), ("GET", FIRST)], owners, owner) is None
    for other in (("MULTI",), ("DBSIZE",), ("HSCAN", FIRST, 0), ("GET", "k"), ("GET", "x}:k")):
        assert by_owner([*commands, other], owners, owner) is None
    assert by_owner([("ZINTERCARD", 2, FIRST, FIRST)], owners, owner) is None
    assert by_owner(commands, {}, lambda _: None) is None


def test_what_is_remembered_of_owners_is_forgotten_when_a_slot_has_another_one() -> None:
    driven = Driven()
    commands: list[Command] = [("GET", SECOND), ("GET", FIRST)]
    assert driven.run(commands, [b"2"], [b"1"]) == [b"1", b"2"]
    driven.slots.move(slot_of(commands[0]), B)  # type: ignore[arg-type]
    assert driven.run(commands, [b"2"], [b"1"]) == [b"1", b"2"]
    driven.slots.learn(SLOTS, A)
    driven.run(commands, [b"2"], [b"1"])
    assert [node for node, _ in driven.sent] == ["a", "c", "a", "b", "a", "c"]


def test_what_some_nodes_refuse_is_sent_again_alone() -> None:
    driven = Driven()
    moved = ServerError(f"MOVED {slot_of(('GET', FIRST))} b:2")
    commands: list[Command] = [("GET", SECOND), ("GET", FIRST), ("GET", "{z}:2")]
    assert driven.run(commands, [moved], [b"1", b"3"], [SLOTS], [b"2"]) == [b"1", b"2", b"3"]
    assert driven.sent[-1] == ("b", [("GET", FIRST)])
    down = ServerError("CLUSTERDOWN the cluster is down")
    assert driven.run(commands, [down], [b"1", b"3"]) == [b"1", down, b"3"]
    assert driven.slots.stale


def test_a_pipeline_is_split_by_nodes_and_its_replies_keep_their_order() -> None:
    driven = Driven()
    commands: list[Command] = [("GET", FIRST), ("GET", SECOND), ("TIME",), ("GET", "{x}:2")]
    assert driven.run(commands, [b"1", b"3"], [b"2", b"now"]) == [b"1", b"2", b"now", b"3"]
    assert driven.sent == [("a", [("GET", FIRST), ("GET", "{x}:2")]), ("c", [("GET", SECOND), ("TIME",)])]


def test_several_nodes_are_asked_at_the_same_time_in_one_order() -> None:
    slots = SlotMap([A])
    slots.learn(SLOTS, A)
    steps = deliver(slots, [("GET", SECOND), ("GET", FIRST)])
    step = next(steps)
    assert step == [Exchange(A, [("GET", FIRST)]), Exchange(C, [("GET", SECOND)])]
    with pytest.raises(StopIteration) as stop:
        steps.send([[b"1"], [b"2"]])
    assert stop.value.value == [b"2", b"1"]


@pytest.mark.parametrize("sent", [False, True])
def test_a_node_that_cannot_be_used_leaves_the_outcome_of_the_others_unknown(sent: bool) -> None:
    lost = ConnectionFailure("connect", "refused", sent=sent)
    with pytest.raises(ConnectionFailure, match="refused") as failure:
        Driven().run([("SET", FIRST, 1), ("SET", SECOND, 2)], lost, [b"OK"])
    assert failure.value.sent
    with pytest.raises(ConnectionFailure, match="refused") as failure:
        Driven().run([("SET", FIRST, 1), ("SET", SECOND, 2)], lost, lost)
    assert failure.value.sent == sent


def test_moved_is_followed_and_the_slots_are_read_from_the_new_owner() -> None:
    driven = Driven()
    moved = ServerError(f"MOVED {slot_of_tag('{x}')} b:2")
    replies = driven.run([("GET", FIRST), ("GET", "{x}:2")], [moved, b"two"], [SLOTS], [b"one"])
    assert replies == [b"one", b"two"]
    assert driven.sent[1:] == [("b", [("CLUSTER", "SLOTS")]), ("b", [("GET", FIRST)])]
    assert driven.slots.owner(slot_of_tag("{x}")) == B  # what MOVED says counts more than an older view
    assert driven.slots.owner(slot_of_tag("{x}") - 1) == A


def test_ask_sends_asking_before_each_command_and_leaves_the_slot_where_it_is() -> None:
    driven = Driven()
    ask = ServerError(f"ASK {slot_of_tag('{x}')} b:2")
    commands: list[Command] = [("GET", FIRST), ("GET", "{x}:2"), ("GET", "{x}:3")]
    replies = driven.run(commands, [ask, b"two", ask], [b"OK", b"one", b"OK", b"three"])
    assert replies == [b"one", b"two", b"three"]
    assert driven.sent[1] == ("b", [("ASKING",), ("GET", FIRST), ("ASKING",), ("GET", "{x}:3")])
    assert driven.slots.owner(slot_of_tag("{x}")) == A


def test_a_transaction_is_redirected_as_a_whole() -> None:
    driven = Driven()
    ask = ServerError(f"ASK {slot_of_tag('{x}')} b:2")
    commands: list[Command] = [("MULTI",), ("GET", FIRST), ("TIME",), ("EXEC",)]
    aborted = ServerError("EXECABORT discarded")
    replies = driven.run(
        commands,
        [b"OK", ask, b"QUEUED", aborted],
        [b"OK", b"OK", b"QUEUED", b"QUEUED", [b"1", b"t"]],
    )
    assert replies == [b"OK", b"QUEUED", b"QUEUED", [b"1", b"t"]]
    assert driven.sent[1] == ("b", [("ASKING",), *commands])


def test_nodes_that_do_not_agree_end_as_a_refusal_that_may_be_tried_again() -> None:
    driven = Driven()
    slot = slot_of_tag("{x}")
    to_b, to_a = ServerError(f"MOVED {slot} b:2"), ServerError(f"MOVED {slot} a:1")
    outcomes = [each for _ in range(4) for each in ([to_b], [SLOTS], [to_a], [SLOTS])]
    (reply,) = driven.run([("GET", FIRST)], *outcomes)
    assert reply.code == "TRYAGAIN"


def test_a_slot_without_an_owner_is_refused_and_the_slots_are_read_at_the_next_try() -> None:
    driven = Driven(SlotMap([A]))
    (reply,) = driven.run([("GET", FIRST)], [slots_reply((0, 5000, B))])
    assert reply.code == "CLUSTERDOWN"
    assert driven.run([("GET", FIRST)], [SLOTS], [b"1"]) == [b"1"]
    assert [host for host, _ in driven.sent] == ["a", "b", "a"]


def test_after_a_lost_node_the_others_are_asked_first() -> None:
    driven = Driven()
    with pytest.raises(ConnectionFailure) as failure:
        driven.run([("GET", FIRST)], failed())
    assert not failure.value.sent
    reply = slots_reply((0, 12000, C), (12001, 16383, B))
    assert driven.run([("GET", FIRST)], failed(), [reply], [b"1"]) == [b"1"]
    assert [host for host, _ in driven.sent] == ["a", "b", "c", "b"]


def test_a_node_that_is_lost_after_another_was_sent_something_leaves_the_outcome_open() -> None:
    driven = Driven()
    with pytest.raises(ConnectionFailure) as failure:
        driven.run([("GET", FIRST), ("GET", SECOND)], [b"1"], failed())
    assert failure.value.sent


def test_without_any_answer_the_first_failure_is_raised_and_nothing_was_sent() -> None:
    driven = Driven(SlotMap([A, B]))
    with pytest.raises(ConnectionFailure, match="refused") as failure:
        driven.run([("GET", FIRST)], failed(), failed())
    assert not failure.value.sent
    denied = ServerError("NOPERM no permission")
    with pytest.raises(ConnectionFailure, match="NOPERM") as failure:
        driven.run([("GET", FIRST)], [denied], [denied])
    assert failure.value.reason == "authentication"


def test_a_server_without_a_cluster_is_a_mistake_in_the_url() -> None:
    driven = Driven(SlotMap([A]))
    disabled = ServerError("ERR This instance has cluster support disabled")
    with pytest.raises(ConfigurationError, match="redis://"):
        driven.drive(read_slots(driven.slots), [disabled])


def test_a_node_that_does_not_know_its_own_host_is_where_it_was_asked() -> None:
    slots = SlotMap([A])
    slots.learn([[0, 16383, [b"", 7, b"id"], [None, 8, b"id"]]], A)
    assert slots.owner(0) == Node("a", 7)
    assert Node("a", 8) in slots.nodes


def test_a_cursor_is_sent_to_the_node_that_gave_it_only() -> None:
    driven = Driven()
    ((cursor, _),) = driven.run([("ZSCAN", FIRST, 0)], [[b"42", []]])
    ((again, _),) = driven.run([("ZSCAN", FIRST, cursor)], [[b"7", []]])
    driven.slots.move(slot_of_tag("{x}"), B)
    ((end, _),) = driven.run([("ZSCAN", FIRST, again)], [[b"0", []]])
    assert end == b"0"
    assert driven.sent == [
        ("a", [("ZSCAN", FIRST, 0)]),
        ("a", [("ZSCAN", FIRST, 42)]),
        ("b", [("ZSCAN", FIRST, 0)]),
    ]


def scan(cursor: Any, pattern: str) -> list[Command]:
    return [("SCAN", cursor, "MATCH", pattern)]


def test_a_scan_of_one_partition_asks_the_node_whether_it_has_the_slot() -> None:
    driven = Driven()
    slot = slot_of_tag("{x}")
    ((cursor, keys),) = driven.run(scan(0, "{x}:*"), [0, [b"9", [b"{x}:1"]]])
    assert keys == [b"{x}:1"]
    moved = ServerError(f"MOVED {slot} b:2")
    # The slot has moved: the new owner is scanned from its beginning.
    ((end, keys),) = driven.run(scan(cursor, "{x}:*"), [moved, [b"0", []]], [SLOTS], [0, [b"0", [b"{x}:1"]]])
    assert (end, keys) == (b"0", [b"{x}:1"])
    assert driven.sent[-1] == ("b", [("EXISTS", "{x}:@moving"), ("SCAN", 0, "MATCH", "{x}:*")])
    (reply,) = driven.run(scan(0, "{x}:*"), [ServerError(f"ASK {slot} c:3"), [b"0", []]])
    assert reply.code == "TRYAGAIN"


def scanned(driven: Driven) -> list[tuple[str, Any]]:
    """Each SCAN that was sent: the node, and the cursor."""
    return [(host, command[1]) for host, words in driven.sent for command in words if command[0] == "SCAN"]


def test_scans_of_several_partitions_go_to_their_nodes_at_the_same_time() -> None:
    slots = SlotMap([A])
    slots.learn(SLOTS, A)
    steps = deliver(slots, [*scan(0, "{x}:*"), *scan(0, "{z}:*"), ("GET", "{x}:2")])
    assert next(steps) == [
        Exchange(A, [("EXISTS", "{x}:@moving"), ("SCAN", 0, "MATCH", "{x}:*"), ("GET", "{x}:2")]),
        Exchange(C, [("EXISTS", "{z}:@moving"), ("SCAN", 0, "MATCH", "{z}:*")]),
    ]
    with pytest.raises(StopIteration) as stop:
        steps.send([[0, [b"0", [b"{x}:1"]], b"2"], [0, [b"0", [b"{z}:1"]]]])
    assert stop.value.value == [[b"0", [b"{x}:1"]], [b"0", [b"{z}:1"]], b"2"]


def test_the_scan_of_a_slot_without_an_owner_is_refused_and_the_others_are_answered() -> None:
    driven = Driven()
    driven.slots.learn(slots_reply((0, 5000, B), (5001, 12000, C)), A)
    driven.slots.stale = False
    refused, found = driven.run([*scan(0, "{x}:*"), *scan(0, "{z}:*")], [0, [b"0", [b"{z}:1"]]])
    assert (refused.code, found) == ("CLUSTERDOWN", [b"0", [b"{z}:1"]])


def test_a_scan_of_all_reads_the_masters_at_the_same_time_each_to_its_end() -> None:
    driven = Driven()
    cursor: Any = 0
    found = []
    replies: list[list[Any]] = [
        [[SLOTS], [[b"18446744073709551615", [b"1"]]], [[b"0", [b"2"]]], [[b"7", [b"3"]]]],
        [[[b"5", [b"4"]]], [[b"9", []]]],
        [[[b"0", [b"5"]]], [[b"0", [b"6"]]], [SLOTS]],
    ]
    for outcomes in replies:
        ((cursor, keys),) = driven.run(scan(int(cursor), "{*"), *outcomes)
        found += keys
    assert (cursor, found) == (b"0", [b"1", b"2", b"3", b"4", b"5", b"6"])
    first = [("a", 0), ("b", 0), ("c", 0)]
    assert scanned(driven) == [*first, ("a", 18446744073709551615), ("c", 7), ("a", 5), ("c", 9)]


def test_a_scan_of_very_many_masters_goes_on_with_the_next_when_the_first_are_through() -> None:
    slots = SlotMap([A])
    nodes = [Node(f"n{number:02}", 1) for number in range(40)]
    reply = slots_reply(
        *[(400 * n, 16383 if n == 39 else 400 * n + 399, node) for n, node in enumerate(nodes)]
    )
    slots.learn(reply, A)
    driven = Driven(slots)
    ((cursor, keys),) = driven.run(scan(0, "{*"), [reply], *[[[b"0", [b"k"]]]] * 32)
    assert len(keys) == 32
    ((cursor, keys),) = driven.run(scan(int(cursor), "{*"), *[[[b"0", [b"k"]]]] * 8, [reply])
    assert (cursor, len(keys)) == (b"0", 8)
    assert [host for host, _ in scanned(driven)] == [node.host for node in nodes]


def test_a_scan_of_all_begins_anew_when_a_slot_has_another_owner() -> None:
    driven = Driven()
    ((cursor, _),) = driven.run(scan(0, "{*"), [SLOTS], *[[[b"3", []]]] * 3)
    driven.slots.move(0, C)
    ((again, _),) = driven.run(scan(int(cursor), "{*"), *[[[b"0", []]]] * 3, [SLOTS])
    assert scanned(driven)[3:] == [("a", 0), ("b", 0), ("c", 0)]
    assert again != b"0"  # SLOTS gives the slot back to its former owner


def test_the_size_is_that_of_all_masters_asked_at_the_same_time() -> None:
    driven = Driven()
    assert driven.run([("DBSIZE",)], [1], [2], [3]) == [6]
    assert next(deliver(driven.slots, [("DBSIZE",)])) == [
        Exchange(each, (("DBSIZE",),)) for each in (A, B, C)
    ]
    refused = ServerError("NOPERM")
    assert driven.run([("DBSIZE",)], [1], [refused], [3]) == [refused]


def test_a_failure_has_the_answers_of_the_nodes_that_did_answer() -> None:
    lost = ConnectionFailure("closed", "gone", sent=True)
    commands: list[Command] = [("GET", FIRST), ("GET", SECOND), ("GET", "{x}:2"), ("DBSIZE",)]
    with pytest.raises(ConnectionFailure) as failure:
        Driven().run(commands, [b"1", b"3"], lost)
    assert (failure.value.answers, failure.value.sent) == ({0: b"1", 2: b"3"}, True)
    with pytest.raises(ConnectionFailure) as failure:
        Driven().run(commands[:3], lost, lost)
    assert failure.value.answers == {}
    moved = ServerError(f"MOVED {slot_of_tag('{x}')} b:2")
    with pytest.raises(ConnectionFailure) as failure:
        Driven().run(commands[:2], [moved], lost)
    assert failure.value.answers == {}  # no node has carried out the first
    assert failure.value.copy().answers == {}


def test_keys_of_several_slots_are_read_from_several_nodes() -> None:
    driven = Driven()
    crossing = ServerError("CROSSSLOT Keys in request don't hash to the same slot")
    commands: list[Command] = [("MGET", FIRST, SECOND, "{x}:2")]
    assert Driven().run(commands, [crossing], [[b"1", b"3"]], [[b"2"]]) == [[b"1", b"2", b"3"]]
    assert driven.run([("UNLINK", FIRST, SECOND)], [crossing], [1], [0]) == [1]
