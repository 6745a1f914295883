"""What users of savers and stores on Redis have reported as broken, and holds here."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT
from langgraph.types import Interrupt, Send

from keyweave_langgraph import KeyweaveSaver

ENDED = {"Thread": timedelta(microseconds=1)}
"""A retention that has passed before the next command reaches the server."""

ODD_NAMES = [
    "a",
    "a:b",
    "a*",
    "a.b",
    "{a}",
    "a-b@example.org",
    "a|b",
    "ä ö",
    "a\\b",
    'a"b',
    "[a]",
    "__empty__",
]


def ends(agent: Any, thread: str = "t") -> int:
    """When a thread ends, in milliseconds since 1970; -1 for never."""
    (name,) = (name for name in agent.stored() if "Thread" in name and name.endswith(f":{thread}"))
    return int(agent.send("PEXPIRETIME", name))


# Expiry


def test_an_expired_thread_leaves_nothing(agent: Any) -> None:
    saver = agent.saver(expire=True)
    talk = agent.conversation(saver)
    for number in range(10):
        talk.step({"run_id": "r"}, messages=[number], count=number)
        saver.put_writes(talk.at, [("messages", number)], "task")
    agent.end("t")
    assert agent.look.checkpoints.by_thread("t").count() == 10  # nothing has swept yet
    assert saver.get_tuple(agent.config()) is None
    assert saver.get_tuple(talk.at) is None
    assert list(saver.list(agent.config())) == []
    assert list(saver.list(None)) == []
    assert list(saver.list(None, filter={"run_id": "r"})) == []
    agent.look.sweep()
    assert (agent.rows(), agent.stored()) == (0, set())


def test_a_thread_that_the_server_freed_leaves_nothing_either(agent: Any) -> None:
    """Nothing has swept for longer than the grace of the native TTL, so the server has removed the thread's document."""
    saver = agent.saver(store=agent.opened(retention=ENDED, grace_ms=1), expire=True)
    agent.conversation(saver).step(messages=["hello"])
    partition = next(name for name in agent.stored()).partition("}")[0]
    agent.wait_until_freed(f"{partition}}}:Thread:t")
    assert saver.get_tuple(agent.config()) is None
    assert list(saver.list(agent.config())) == []
    agent.look.sweep()
    assert (agent.rows(), agent.stored()) == (0, set())


def test_a_thread_has_one_deadline_for_all_that_belongs_to_it(agent: Any) -> None:
    """So no row can be left without one, and a renewal costs the same for any length of history."""
    saver = agent.saver(expire=True)
    talk = agent.conversation(saver)
    for number in range(5):
        talk.step(messages=[number])
        saver.put_writes(talk.at, [("messages", number)], "task")
    deadlines = Counter(agent.send("PEXPIRETIME", name) for name in agent.stored())
    assert min(deadlines.values()) == 1
    assert deadlines[-1] == sum(deadlines.values()) - 1


def test_the_beginning_of_a_living_thread_does_not_expire(agent: Any) -> None:
    """The value of a channel that never changes again, and the oldest checkpoint, live as long as the thread."""
    saver = agent.saver(expire=True)
    talk = agent.conversation(saver)
    first = talk.step(system="be kind", messages=["hello"])
    before = ends(agent)
    for number in range(3):
        talk.step(messages=[number])
    assert ends(agent) > before
    assert saver.get_tuple(agent.config()).checkpoint["channel_values"]["system"] == "be kind"
    assert saver.get_tuple(first).checkpoint["channel_values"] == {"system": "be kind", "messages": ["hello"]}


def test_a_read_renews_the_deadline_unless_the_saver_forbids_it(agent: Any) -> None:
    agent.conversation(agent.saver(expire=True)).step(messages=["hello"])
    before = ends(agent)
    assert agent.saver(expire=True, refresh_on_read=False).get_tuple(agent.config()) is not None
    assert list(agent.saver(expire=True).list(agent.config()))
    assert ends(agent) == before
    assert agent.saver(expire=True).get_tuple(agent.config()) is not None
    assert ends(agent) > before


def test_a_thread_can_be_pinned_and_released(agent: Any) -> None:
    saver = agent.saver(expire=True)
    talk = agent.conversation(saver)
    talk.step(messages=["hello"])
    agent.look.threads.update("t", temporary=False)
    talk.step(messages=["still here"])
    assert saver.get_tuple(agent.config()) is not None
    assert ends(agent) == -1
    agent.look.threads.update("t", temporary=True)
    assert ends(agent) > 0


def test_threads_do_not_end_unless_the_saver_says_so(agent: Any) -> None:
    saver = agent.saver(store=agent.opened(retention=ENDED))
    agent.conversation(saver).step(messages=["hello"])
    assert saver.get_tuple(agent.config()) is not None
    assert {agent.send("PEXPIRETIME", name) for name in agent.stored()} == {-1}


@pytest.mark.parametrize("writes", [False, True], ids=["", "a task writes first"])
@pytest.mark.parametrize("how", ["deleted", "ended", "swept", "run deleted"])
def test_a_run_that_outlives_its_thread_loses_no_value(agent: Any, how: str, writes: bool) -> None:
    """The next step stores every value again, also those that it has not changed."""
    saver = agent.saver(expire=True)
    talk = agent.conversation(saver)
    talk.step({"run_id": "r"}, system="be kind", messages=["hello"])
    if how == "deleted":
        saver.delete_thread("t")
    elif how == "run deleted":
        saver.delete_for_runs(["r"])
    else:
        agent.end("t")
    if how == "swept":
        agent.look.sweep()
    if writes:
        saver.put_writes(talk.at, [("messages", "world")], "task")
    talk.step({"run_id": "s"}, messages=["hello", "world"])
    found = saver.get_tuple(agent.config())
    assert found.checkpoint["channel_values"] == {"system": "be kind", "messages": ["hello", "world"]}


# Deleting


def test_a_deleted_thread_leaves_nothing(agent: Any) -> None:
    saver = agent.saver()
    for namespace in ("", "child:1", "child:1|grandchild:2"):
        talk = agent.conversation(saver, "t", namespace)
        for number in range(3):
            talk.step({"run_id": "r"}, messages=[number])
            saver.put_writes(talk.at, [("messages", number), (ERROR, "no")], "task")
    saver.delete_thread("t")
    assert (agent.rows(), agent.stored()) == (0, set())


def test_a_thread_with_a_long_history_is_deleted_whole(agent: Any) -> None:
    saver = agent.saver()
    talk = agent.conversation(saver)
    for number in range(300):
        talk.step(messages=[number])
    assert agent.rows() == 601
    saver.delete_thread("t")
    assert (agent.rows(), agent.stored()) == (0, set())


def test_deleting_the_last_run_of_a_thread_leaves_nothing(agent: Any) -> None:
    saver = agent.saver()
    talk = agent.conversation(saver)
    first = talk.step({"run_id": "one"}, system="be kind", messages=["hello"])
    saver.put_writes(first, [("messages", "x")], "task")
    talk.step({"run_id": "two"}, messages=["world"])
    saver.delete_for_runs(["one"])
    found = saver.get_tuple(agent.config())
    assert found.checkpoint["channel_values"] == {"system": "be kind", "messages": ["world"]}
    assert saver.get_tuple(first) is None
    assert agent.rows() == 4  # the thread, a checkpoint and its two values
    saver.delete_for_runs(["two"])
    assert (agent.rows(), agent.stored()) == (0, set())


def test_pruning_keeps_what_the_latest_checkpoint_uses_and_nothing_else(agent: Any) -> None:
    saver = agent.saver()
    talk = agent.conversation(saver)
    for number in range(5):
        saver.put_writes(
            talk.step(messages=[number], **({"system": "be kind"} if number == 0 else {})), [("m", 1)], "t"
        )
    saver.prune(["t"])
    (found,) = saver.list(agent.config())
    assert found.checkpoint["channel_values"] == {"system": "be kind", "messages": [4]}
    assert len(found.pending_writes) == 1
    assert agent.rows() == 5  # the thread, a checkpoint, two values, a task
    with pytest.raises(ValueError, match="unknown strategy 'keep_last'"):
        saver.prune(["t"], strategy="keep_last")


def test_pruning_keeps_the_history_of_a_delta_channel(agent: Any) -> None:
    """Such a channel is rebuilt from the writes since its last snapshot."""
    saver = agent.saver()
    talk = agent.conversation(saver)
    talk.step(log=["before"])
    snapshot = talk.step(log=["snapshot"])
    del talk.values["log"]
    for number in range(3):
        saver.put_writes(talk.at, [("log", number)], "task")
        talk.step({"counters_since_delta_snapshot": {"log": (number + 1, number + 1)}}, count=number)
    history = saver.get_delta_channel_history(config=talk.at, channels=["log"])
    assert history["log"]["seed"] == ["snapshot"]
    assert [write[2] for write in history["log"]["writes"]] == [0, 1, 2]
    saver.prune(["t"])
    assert saver.get_delta_channel_history(config=talk.at, channels=["log"]) == history
    listed = [found.config["configurable"]["checkpoint_id"] for found in saver.list(agent.config())]
    assert (len(listed), listed[-1]) == (4, snapshot["configurable"]["checkpoint_id"])


# Names


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_thread_and_namespace_is_a_thread_of_its_own(agent: Any, name: str) -> None:
    saver = agent.saver()
    agent.conversation(saver, "neighbour", name).step(owner="neighbour")
    agent.conversation(saver, f"{name}x", "").step(owner="longer")
    agent.conversation(saver, name, "").step(owner="own")
    agent.conversation(saver, name, name).step(owner="child")
    assert saver.get_tuple(agent.config(name)).checkpoint["channel_values"] == {"owner": "own"}
    assert saver.get_tuple(agent.config(name, name)).checkpoint["channel_values"] == {"owner": "child"}
    assert len(list(saver.list({"configurable": {"thread_id": name}}))) == 2
    saver.delete_thread(name)
    left = {found.checkpoint["channel_values"]["owner"] for found in saver.list(None)}
    assert left == {"neighbour", "longer"}


def test_deployments_that_share_a_server_do_not_meet(agent: Any, keyweave_namespace: str) -> None:
    """Two namespaces have no key in common, not even one that names the latest checkpoint."""
    other = agent.saver(store=agent.opened(namespace=f"{keyweave_namespace}-other"))
    saver = agent.saver()
    agent.conversation(saver).step(owner="first")
    agent.conversation(other).step(owner="second")
    assert saver.get_tuple(agent.config()).checkpoint["channel_values"] == {"owner": "first"}
    assert other.get_tuple(agent.config()).checkpoint["channel_values"] == {"owner": "second"}
    other.delete_thread("t")
    assert saver.get_tuple(agent.config()) is not None
    assert [found.checkpoint["channel_values"] for found in other.list(None)] == []


def test_all_keys_of_the_threads_have_one_hash_tag(agent: Any) -> None:
    """So no command and no script of a write can meet keys of two slots."""
    saver = agent.saver(expire=True)
    for thread in ("one", "two"):
        saver.put_writes(
            agent.conversation(saver, thread).step({"run_id": "r"}, messages=[1]), [("m", 1)], "task"
        )
    tags = {name[name.index("{") : name.index("}") + 1] for name in agent.stored()}
    assert len(tags) == 1
    assert tags.pop().endswith(":threads:0}")


# Values


@dataclasses.dataclass
class Place:
    """A class of an application's state."""

    city: str
    visited: set[str]


def test_every_value_comes_back_as_it_was(agent: Any) -> None:
    saver = agent.saver()
    values = {
        "bytes": b"\xff\x00\xfe",
        "nested": {"set": {1, 2}, "bytes": [b"\x80"]},
        "moment": datetime(2026, 1, 31, 8, 0, tzinfo=UTC),
        "messages": [HumanMessage("hello", id="1"), AIMessage("hi", id="2")],
        "place": Place("Bern", {"today"}),
        "nothing": None,
        "empty": {},
        "number": 2**63,
        "text": 'quotes " and \\ and \u0000 and 🙂',
    }
    talk = agent.conversation(saver)
    talk.step(**values)
    assert saver.get_tuple(agent.config()).checkpoint["channel_values"] == values
    writes = [
        ("a", Send("node", {"bytes": b"\xff"})),
        ("b", values["messages"]),
        (INTERRUPT, [Interrupt("why?", id="i")]),
    ]
    saver.put_writes(talk.at, writes, "task")
    assert {channel: value for _, channel, value in saver.get_tuple(agent.config()).pending_writes} == dict(
        writes
    )


def test_an_unchanged_channel_is_stored_once(agent: Any) -> None:
    saver = agent.saver()
    talk = agent.conversation(saver)
    talk.step(document="x" * 1_000_000, count=0)
    (name,) = (name for name in agent.stored() if "!document!" in name)
    document = agent.send("GET", name)
    used = sum(agent.send("MEMORY", "USAGE", name) for name in agent.stored())
    for number in range(1, 21):
        talk.step(count=number)
    assert [name for name in agent.stored() if "!document!" in name] == [name]
    assert agent.send("GET", name) == document, "its revision shows that nothing has written it again"
    assert sum(agent.send("MEMORY", "USAGE", name) for name in agent.stored()) - used < 100_000
    assert all(
        len(found.checkpoint["channel_values"]["document"]) == 1_000_000 for found in saver.list(talk.at)
    )


def test_two_branches_do_not_share_a_value(agent: Any) -> None:
    """Both count the versions of a channel from the same checkpoint."""
    saver = agent.saver()
    trunk = agent.conversation(saver)
    fork = trunk.step(messages=["trunk"])
    branches = []
    for text in ("left", "right"):
        branch = agent.conversation(saver)
        branch.at, branch.values, branch.versions = fork, dict(trunk.values), dict(trunk.versions)
        branches.append((text, branch.step(messages=[text])))
    for text, place in branches:
        assert saver.get_tuple(place).checkpoint["channel_values"] == {"messages": [text]}
        assert saver.get_tuple(place).parent_config == fork


def test_checkpoints_are_listed_by_id_whatever_the_order_in_which_they_were_put(agent: Any) -> None:
    saver = agent.saver()
    talk = agent.conversation(saver)
    places = [talk.step(count=number) for number in range(3)]
    late = saver.get_tuple(places[0])
    saver.put(agent.config(), late.checkpoint, late.metadata, {})
    ids = [place["configurable"]["checkpoint_id"] for place in places]
    assert [found.checkpoint["id"] for found in saver.list(agent.config())] == ids[::-1]
    assert [found.checkpoint["id"] for found in saver.list(None)] == ids[::-1]
    assert saver.get_tuple(agent.config()).checkpoint["id"] == ids[-1]


def test_a_list_has_as_many_checkpoints_as_its_limit_says(agent: Any) -> None:
    saver = agent.saver()
    talk = agent.conversation(saver)
    for number in range(70):
        talk.step({"even": number % 2 == 0, "run_id": f"run-{number % 7}"}, count=number)
    for limit in (0, 1, 20, 21, 69, 70, 500, None):
        assert len(list(saver.list(agent.config(), limit=limit))) == min(70, 70 if limit is None else limit)
        found = list(saver.list(agent.config(), filter={"even": True}, limit=limit))
        assert len(found) == min(35, 35 if limit is None else limit)
    assert [each.metadata["step"] for each in saver.list(None, filter={"run_id": "run-3"})] == [
        66,
        59,
        52,
        45,
        38,
        31,
        24,
        17,
        10,
        3,
    ]
    middle = list(saver.list(agent.config()))[30].config
    assert [each.metadata["step"] for each in saver.list(agent.config(), before=middle, limit=3)] == [
        38,
        37,
        36,
    ]
    assert [each.config for each in saver.list(middle)] == [middle]
    assert list(saver.list(middle, before=middle)) == []


# Writers at the same time


def test_parallel_tasks_lose_no_write(agent: Any) -> None:
    """Not even in a thread that each of them finds missing."""
    saver = agent.saver(expire=True)
    tasks = [f"task-{number}" for number in range(8)]
    for number in range(10):
        place = agent.config(f"t{number}", checkpoint="1ef4f797-8335-6428-8001-8a1503f9b875")
        if agent.flavour == "sync":
            write = partial(saver.put_writes, place, [("a", number), ("b", number)])
            with ThreadPoolExecutor(len(tasks)) as threads:
                list(threads.map(write, tasks))
        else:
            write = partial(saver.inner.aput_writes, place, [("a", number), ("b", number)])
            agent.do(_together([write(task) for task in tasks]))
        rows = agent.look.task_writes.by_thread(f"t{number}").list()
        assert sorted(row.task_id for row in rows) == tasks
        assert all([write.channel for write in row.writes] == ["a", "b"] for row in rows)


async def _together(calls: list[Any]) -> None:
    await asyncio.gather(*calls)


def test_a_task_that_writes_again_changes_only_special_channels(agent: Any) -> None:
    saver = agent.saver()
    place = agent.conversation(saver).step(messages=[])
    saver.put_writes(place, [("a", 1), ("b", 2), (ERROR, "first")], "task", "path")
    saver.put_writes(place, [("a", 9), ("b", 9), (ERROR, "second")], "task", "path")
    saver.put_writes(place, [("c", 3)], "earlier", "a path")
    found = saver.get_tuple(place).pending_writes
    assert found == [("earlier", "c", 3), ("task", ERROR, "second"), ("task", "a", 1), ("task", "b", 2)]


def test_writes_may_arrive_before_their_checkpoint(agent: Any) -> None:
    """LangGraph stores both in the background, in any order."""
    saver = agent.saver()
    first = agent.conversation(saver, "other").step(messages=[])
    checkpoint = saver.get_tuple(first).checkpoint
    place = agent.config("t", checkpoint=checkpoint["id"])
    saver.put_writes(place, [("a", 1)], "task")
    assert saver.get_tuple(place) is None
    saver.put(agent.config("t"), checkpoint, {"source": "loop"}, checkpoint["channel_versions"])
    assert saver.get_tuple(place).pending_writes == [("task", "a", 1)]


class Interfering:
    """A store that lets another writer act just before the values of channels are read, once.

    Args:
        store: what it passes everything to.
        act: what the other writer does.
    """

    def __init__(self, store: Any, act: Callable[[], object]) -> None:
        self._store = store
        self._act: Callable[[], object] | None = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def channel_values(self) -> Any:
        """The repository of values, which the first look at it finds changed."""
        act, self._act = self._act, None
        if act is not None:
            act()
        return self._store.channel_values


@pytest.mark.parametrize("named", [False, True], ids=["latest", "by id"])
def test_a_checkpoint_that_is_removed_during_a_read_is_never_read_in_part(agent: Any, named: bool) -> None:
    first = agent.conversation(agent.saver()).step({"run_id": "one"}, messages=["first"])
    place = agent.conversation(agent.saver())
    place.at = first
    second = place.step({"run_id": "two"}, messages=["second"])
    beside = KeyweaveSaver(agent.look)
    saver = agent.saver(store=Interfering(agent.store, lambda: beside.delete_for_runs(["two"])))
    found = saver.get_tuple(second if named else agent.config())
    assert (None if found is None else found.checkpoint["channel_values"]) == (
        None if named else {"messages": ["first"]}
    )


def test_a_list_leaves_out_a_checkpoint_that_is_removed_meanwhile(agent: Any) -> None:
    talk = agent.conversation(agent.saver())
    for number in range(3):
        talk.step({"run_id": str(number)}, messages=[number])
    beside = KeyweaveSaver(agent.look)
    saver = agent.saver(store=Interfering(agent.store, lambda: beside.delete_for_runs(["1"])))
    assert [found.checkpoint["channel_values"]["messages"] for found in saver.list(agent.config())] == [
        [2],
        [0],
    ]


def test_a_thread_that_is_deleted_during_a_read_is_not_there(agent: Any) -> None:
    agent.conversation(agent.saver()).step(messages=["hello"])
    beside = KeyweaveSaver(agent.look)
    saver = agent.saver(store=Interfering(agent.store, lambda: beside.delete_thread("t")))
    assert saver.get_tuple(agent.config()) is None
