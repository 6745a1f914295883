"""The server in memory answers as a real one does: to random commands, and to the scripts of whole simulated runs."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from keyweave.connection.direct.link_sync import SocketLink
from keyweave.connection.settings import parse_url
from keyweave.effects import Call, Command, Flow, Send, ServerError
from keyweave.errors import AlreadyExistsError, NotFoundError
from keyweave.expiry.sweep import sweep
from keyweave.integrity.check import check
from keyweave.store.context import Context
from keyweave.write.delete import discard
from keyweave.write.save import change, create, upsert
from tests.servers.running import configured_server
from tools.simulate.clients.arena import arena, kind
from tools.simulate.clients.menu import MENU
from tools.simulate.run import Run
from tools.simulate.scenario import Scenario, scenario
from tools.simulate.server.node import Node

CLOCK = b"{a:v:s:t:arena:0}:@clock"
AHEAD = b"1900000000000000"
"""A clock that is ahead of both servers counts on by one, so that revisions do not depend on the time."""

UNCOMPARED = {"TIME", "INFO", "CONFIG"}
UNORDERED = {"HGETALL", "HSCAN", "SCAN"}


@pytest.fixture
def link() -> Iterator[SocketLink]:
    with configured_server() as server:
        opened = SocketLink(parse_url(server.url), None)
        yield opened
        opened.close()


def comparable(command: Command, reply: Any) -> Any:
    """A reply without what servers may answer as they like."""
    if isinstance(reply, ServerError):
        return f"refused: {reply.code}"
    if command[0] in UNCOMPARED:
        return None
    if command[0] in UNORDERED and isinstance(reply, list):
        words = reply if command[0] == "HGETALL" else reply[1]
        if command[0] == "SCAN":
            return sorted(words)
        return sorted(zip(words[0::2], words[1::2], strict=True))
    return reply


KEYS = [f"k{number}" for number in range(4)]
MEMBERS = [f"m{number}" for number in range(5)]


def random_command(source: random.Random) -> Command:
    """A command on few keys, so that types clash now and then."""
    key, member, other = source.choice(KEYS), source.choice(MEMBERS), source.choice(MEMBERS)
    low, high, number = source.randint(-3, 6), source.randint(-3, 6), source.randint(-2, 9)
    moment = 4_000_000_000_000 + number
    bounds = source.choice(((low, high), (f"({low}", high), ("-inf", f"({high}"), (low, "+inf")))
    texts = source.choice(
        (("-", "+"), (f"[{member}", f"({other}"), (f"({member}", "+"), ("+", "-"), ("-", other))
    )
    commands: list[Command] = [
        ("GET", key),
        ("SET", key, member),
        ("SET", key, member, "NX", "PXAT", moment),
        ("SET", key, "0123456789", "PXAT", moment),
        ("GETRANGE", key, low, high),
        ("STRLEN", key),
        ("SETRANGE", key, abs(low), member),
        ("INCR", source.choice((key, "n"))),
        ("INCRBY", "n", number),
        ("MGET", *KEYS),
        ("DEL", key),
        ("UNLINK", key, source.choice(KEYS)),
        ("EXISTS", key, key),
        ("TYPE", key),
        ("PEXPIREAT", key, moment),
        ("PEXPIREAT", key, 1000),
        ("PEXPIRETIME", key),
        ("PERSIST", key),
        ("RENAMENX", key, source.choice(KEYS)),
        ("SCAN", 0, "MATCH", "k?", "COUNT", 1000),
        ("DBSIZE",),
        ("HGET", key, member),
        ("HMGET", key, member, other),
        ("HSET", key, member, number, other, number),
        ("HSETNX", key, member, number),
        ("HDEL", key, member, other),
        ("HLEN", key),
        ("HEXISTS", key, member),
        ("HGETALL", key),
        ("HSCAN", key, 0, "COUNT", 1000),
        ("HINCRBY", key, member, number),
        ("ZADD", key, number, member, number + 1, other),
        ("ZADD", key, "NX", number, member),
        ("ZADD", key, "1700000000000001", member),
        ("ZREM", key, member, other),
        ("ZCARD", key),
        ("ZSCORE", key, member),
        ("ZMSCORE", key, *MEMBERS),
        ("ZRANK", key, member),
        ("ZREVRANK", key, member),
        ("ZRANGE", key, low, high),
        ("ZRANGE", key, low, high, "WITHSCORES"),
        ("ZREVRANGE", key, low, high),
        ("ZCOUNT", key, *bounds),
        ("ZRANGEBYSCORE", key, *bounds),
        ("ZRANGEBYSCORE", key, *bounds, "LIMIT", abs(low), high),
        ("ZREVRANGEBYSCORE", key, *bounds[::-1], "WITHSCORES"),
        ("ZREVRANGEBYSCORE", key, *bounds[::-1], "LIMIT", abs(low), high),
        ("ZADD", "same", 0, member, 0, other),
        ("ZLEXCOUNT", source.choice(("same", "n")), *texts),
        ("ZRANGEBYLEX", "same", *texts),
        ("ZRANGEBYLEX", "same", *texts, "LIMIT", abs(low), high),
        ("ZREVRANGEBYLEX", "same", *texts[::-1], "LIMIT", low, high),
        ("ZREMRANGEBYSCORE", key, *bounds),
        ("ZREMRANGEBYRANK", key, low, high),
        ("ZSCAN", key, 0, "COUNT", 1000),
        ("ZINTER", 2, key, source.choice(KEYS)),
        ("ZINTER", 2, key, source.choice(KEYS), "WEIGHTS", 1, 0),
        ("ZINTERCARD", 2, key, source.choice(KEYS), "LIMIT", abs(low)),
        ("EVAL", "return redis.call('TYPE', KEYS[1])", 1, key),
        ("EVAL", "return redis.call('ZSCORE', KEYS[1], ARGV[1]) or {1.5, true, false, 3}", 1, key, member),
        ("EVAL", "redis.call('SET', KEYS[1], 'x') return redis.call('HGET', KEYS[1], 'y')", 1, key),
        ("EVAL", "return redis.pcall('HGET', KEYS[1], 'm1')['err'] or 'none'", 1, key),
        ("EVAL", "return {redis.call('MGET', unpack(KEYS)), #ARGV, tonumber(ARGV[1])}", 2, key, "n", number),
        ("EVALSHA", "0" * 40, 0),
    ]
    return source.choice(commands)


@pytest.mark.parametrize("seed", range(3))
def test_random_commands_are_answered_as_by_a_real_server(link: SocketLink, seed: int) -> None:
    source, node = random.Random(seed), Node()
    for _ in range(1500):
        command = random_command(source)
        (reply,) = link.exchange((command,))
        assert comparable(command, node.execute(command, 0)) == comparable(command, reply), command


def quiet(seed: int) -> Scenario:
    """A scenario without faults, whose rows do not end: time goes by otherwise on a real server."""
    whole = scenario(seed)
    endless = {dish.name for dish in MENU if not dish.name.startswith(("ticket", "sweep"))}
    processes = tuple(
        type(process)(
            process.number,
            process.drift,
            tuple(tuple(each for each in task if each.kind in endless) for task in process.tasks),
        )
        for process in whole.processes
    )
    policy = {**whole.policy, "sweep_every": 0, "lock_ttl": 60.0, "deadline": 5.0}
    return whole.without(rates={}, events=(), processes=processes, policy=policy)


def without_end(command: Command) -> Command:
    """A plan that a real server may apply at any time: the plans of a run end in virtual time."""
    if "rows" not in command:
        return command
    at = 3 + int(command[2]) + 3
    return (*command[:at], 1 << 52, *command[at + 1 :])


@pytest.mark.parametrize("seed", range(3))
def test_whole_runs_are_answered_as_by_a_real_server(
    link: SocketLink, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[tuple[Command, Any, Any]] = []
    execute = Node.execute

    def recorded(self: Node, command: Command, at: int, tag: Any = None) -> Any:
        reply = execute(self, command, at, tag)
        carried.append((command, reply, tag))
        return reply

    monkeypatch.setattr(Node, "execute", recorded)
    run = Run(quiet(seed), arena())
    run.node.database.put(CLOCK, AHEAD, None)
    assert run.play().violations == ()
    last = max(place for place, (_, _, tag) in enumerate(carried) if tag is not None)
    link.exchange((("SET", CLOCK, AHEAD),))
    for command, reply, _ in carried[: last + 1]:
        if isinstance(reply, list) and reply[:1] == [b"LATE"]:
            continue  # only in virtual time; the client sends it again
        (real,) = link.exchange((without_end(command),))
        assert comparable(command, reply) == comparable(command, real), command


class _Both:
    """Runs flows on both servers at once and compares what they answer, moments aside."""

    def __init__(self, link: SocketLink, context: Context) -> None:
        self.link = link
        self.node = Node()
        self.node.offset = 0
        self.context = context

    def run(self, flow: Flow[Any]) -> Any:
        answer: Any = None
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration as stop:
                return stop.value
            answer = None
            if isinstance(effect, Send):
                answer = self.link.exchange(effect.commands)
                ours = self.node.pipeline(effect.commands, time.time_ns() // 1000)
                for command, one, two in zip(effect.commands, ours, answer, strict=True):
                    assert timeless(comparable(command, one)) == timeless(comparable(command, two)), command
            elif isinstance(effect, Call):
                answer = effect.function(*effect.arguments)


def timeless(reply: Any) -> str:
    """A reply without the moments in it."""
    return re.sub(r"\d{13,16}", "<moment>", repr(reply))


def test_rows_that_end_are_treated_as_by_a_real_server(link: SocketLink) -> None:
    """Revisions differ by microseconds, so each server is given its own: guards are set by what the real one said."""
    run = Run(quiet(0), arena())
    both = _Both(link, run.context(time.monotonic, random.Random(1)))
    context, ticket = both.context, kind("Ticket")
    both.node.database.put(CLOCK, AHEAD, None)
    link.exchange((("SET", CLOCK, AHEAD),))

    def close(record: Any) -> None:
        record.state = "closed"

    def reopen(record: Any) -> None:
        record.state, record.code = "open", "blue"

    for key, code in (("t0", "red"), ("t1", "green")):
        both.run(create(context, ticket, ticket.record(id=key, token="x", code=code, state="open")))
    both.run(change(context, ticket, "t0", close))
    both.run(change(context, ticket, "t0", reopen))
    both.run(change(context, ticket, "t1", close))
    with pytest.raises(AlreadyExistsError):
        both.run(create(context, ticket, ticket.record(id="t1", token="y", code="red", state="open")))
    both.run(upsert(context, ticket, ticket.record(id="t2", token="z", code="red", state="closed")))
    assert both.run(discard(context, ticket, "t2"))
    with pytest.raises(NotFoundError):
        both.run(change(context, ticket, "t2", close))
    assert both.run(sweep(context)) == 0
    assert both.run(check(context)).clean
