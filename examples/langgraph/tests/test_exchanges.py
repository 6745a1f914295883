"""How often the savers ask the server, once it knows their scripts; and that what takes fewer exchanges also holds when it is repeated."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.base.id import uuid6

from keyweave_langgraph import KeyweaveSaver, history


@pytest.fixture
def asked(agent: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every exchange of the agent's own store, as it is made."""
    channel = type(agent.store.session.shell.channel)
    exchange, own = channel.exchange, agent.store.session.shell.channel
    made: list[Any] = []

    def counted(self: Any, commands: Any, *args: Any, **options: Any) -> Any:
        if self is own:
            made.append(commands)
        return exchange(self, commands, *args, **options)

    monkeypatch.setattr(channel, "exchange", counted)
    return made


def test_a_step_asks_for_its_thread_and_writes_at_once(agent: Any, asked: list[Any]) -> None:
    talk = agent.conversation(agent.saver())
    for number in range(2):
        talk.step(messages=[number], count=number, plan="same")
    asked.clear()
    talk.step(messages=[2], count=2)
    assert len(asked) == 2
    assert talk.saver.get_tuple(talk.at).checkpoint["channel_values"] == {
        "messages": [2],
        "count": 2,
        "plan": "same",
    }


def test_a_parent_that_is_removed_before_the_commit_takes_no_value_of_its_child_along(
    agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread was read already. What this step has not changed was stored with the parent, and is stored again."""
    talk = agent.conversation(agent.saver())
    for number in range(2):
        talk.step(messages=[number], count=number, plan="same")
    channel = type(agent.store.session.shell.channel)
    exchange, own = channel.exchange, agent.store.session.shell.channel
    removed: list[Any] = []

    def meddling(self: Any, commands: Any, *args: Any, **options: Any) -> Any:
        if self is own and not removed and any("rows" in command for command in commands):
            removed.extend(agent.look.checkpoints.by_thread("t").keys())
            agent.look.checkpoints.delete_many(removed)
            agent.look.channel_values.delete_many(agent.look.channel_values.by_thread("t").keys())
        return exchange(self, commands, *args, **options)

    monkeypatch.setattr(channel, "exchange", meddling)
    talk.step(messages=[2], count=2)
    assert len(removed) == 2
    found = talk.saver.get_tuple(talk.at)
    assert found.checkpoint["channel_values"] == {"messages": [2], "count": 2, "plan": "same"}
    assert len(agent.look.checkpoints.by_thread("t").list()) == 1


def test_a_child_of_a_checkpoint_that_is_being_removed_keeps_its_values(
    agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stored after the rows to remove were chosen, while its parent was still there, so it shares a value with it."""
    saver, other = agent.saver(), KeyweaveSaver(agent.look)
    talk = agent.conversation(saver)
    first = talk.step(count=1, plan="same")
    talk.step(count=2, plan="new")
    outdated = history.outdated
    made: list[Any] = []

    def branching(serde: Any, rows: Any) -> Any:
        found = other.get_tuple(first)
        assert found is not None
        checkpoint = found.checkpoint
        version: Any = {"count": "9.9"}
        child: Any = {
            **checkpoint,
            "id": str(uuid6()),
            "channel_values": {**checkpoint["channel_values"], "count": 9},
            "channel_versions": {**checkpoint["channel_versions"], **version},
        }
        made.append(other.put(first, child, {"source": "fork", "step": 1, "parents": {}}, version))
        return outdated(serde, rows)

    monkeypatch.setattr(history, "outdated", branching)
    saver.prune(["t"])
    assert saver.get_tuple(first) is None
    found = saver.get_tuple(made[0])
    assert found.checkpoint["channel_values"] == {"count": 9, "plan": "same"}


def test_a_step_whose_parent_is_gone_stores_all_values(agent: Any) -> None:
    talk = agent.conversation(agent.saver())
    talk.step(messages=[1], count=1, plan="same")
    agent.look.checkpoints.delete_many(agent.look.checkpoints.by_thread("t").keys())
    agent.look.channel_values.delete_many(agent.look.channel_values.by_thread("t").keys())
    talk.step(count=2)
    values = talk.saver.get_tuple(talk.at).checkpoint["channel_values"]
    assert values == {"messages": [1], "count": 2, "plan": "same"}


def test_writes_of_a_task_are_one_exchange(agent: Any, asked: list[Any]) -> None:
    saver = agent.saver()
    talk = agent.conversation(saver)
    talk.step(count=1)
    saver.put_writes(talk.at, [("count", 2)], "first")
    asked.clear()
    saver.put_writes(talk.at, [("count", 3), ("messages", "hello")], "second")
    assert len(asked) == 1
    writes = saver.get_tuple(talk.at).pending_writes
    assert sorted(writes) == [("first", "count", 2), ("second", "count", 3), ("second", "messages", "hello")]


def test_a_step_that_is_stored_again_replaces_itself(agent: Any) -> None:
    """Its values and its row are there already, so the commit refuses to insert them."""
    saver = agent.saver()
    talk = agent.conversation(saver)
    before = talk.step(count=1)
    after = talk.step(count=2)
    found = saver.get_tuple(after)
    again = {**found.checkpoint, "channel_values": {"count": 3}}
    versions = {"count": found.checkpoint["channel_versions"]["count"]}
    saver.put(before, again, {"source": "update", "step": 7, "parents": {}}, versions)
    replaced = saver.get_tuple(after)
    assert replaced.checkpoint["channel_values"] == {"count": 3}
    assert (replaced.metadata["step"], len(list(saver.list(agent.config())))) == (7, 2)


def test_writes_before_the_first_step_begin_the_thread(agent: Any) -> None:
    saver = agent.saver()
    saver.put_writes(agent.config("new", checkpoint="1"), [("count", 1)], "task")
    saver.put_writes(agent.config("new", checkpoint="1"), [("count", 1)], "task")
    assert (agent.look.threads.exists("new"), agent.look.task_writes.by_thread("new").count()) == (True, 1)
