"""Faults of the server: it dies, stops, loses data, refuses commands, or another one takes its place."""

from __future__ import annotations

import time
from typing import Final

from tools.faults.history import Loss
from tools.faults.kinds.fault import Fault
from tools.faults.site.server import WRITER
from tools.faults.site.site import Site

_MOST_CUT: Final = 2_000_000
_POSTPONED: Final = 2.0
"""Seconds for which a server under `everysec` may answer writes that it has not passed to the kernel.

While a background fsync runs, the server postpones its write to the file, for up to two seconds, and answers clients meanwhile.
So SIGKILL loses the writes of that time. Two of 180 kills on a busy disk showed it.
"""

_COMMANDS: Final = {
    "zadd": 2, "zrem": 1, "hset": 2, "hdel": 1, "set": 1, "del": 1, "get": 1, "getrange": 4, "zrange": 1, "evalsha": 1,
}  # fmt: skip
"""Commands that scripts and flows of Keyweave need, and how often they are chosen."""


def kill(site: Site) -> None:
    """The server is killed with SIGKILL and starts again on its append-only file."""
    began = time.monotonic()
    site.server.kill()
    site.note("killed")
    site.rest(0.0, 0.5)
    site.server.start()
    if site.fsync == "everysec":
        site.losses.append(Loss(began, time.monotonic(), _POSTPONED))
    site.note("started again")


def cut_tail(site: Site) -> None:
    """The server is killed, and starts again after the end of its append-only file was cut at a random byte."""
    began = time.monotonic()
    server = site.server
    server.kill()
    lost, left = server.cut(site.chance.random() ** 3, _MOST_CUT)
    site.note(f"killed; {lost} bytes of its file lost, {left} left")
    site.rest(0.0, 0.3)
    server.start()
    site.losses.append(Loss(began, time.monotonic()))
    site.note("started again")


def stop(site: Site) -> None:
    """The server is stopped with SIGSTOP, and goes on after a while."""
    site.server.pause()
    try:
        site.note("stopped")
        site.rest(0.05, 1.3 * site.deadline)
    finally:
        site.server.resume()
    site.note("goes on")


def out_of_memory(site: Site) -> None:
    """The server is at its memory limit."""
    used = int(site.information("memory")["used_memory"])
    site.server.ask("CONFIG", "SET", "maxmemory", max(used - 100_000, 1_000))
    site.note("out of memory")
    site.rest(0.1, 0.8)
    site.server.ask("CONFIG", "SET", "maxmemory", 0)
    site.note("has memory again")


def read_only(site: Site) -> None:
    """The server becomes a replica of a server that is not there, and a primary again."""
    site.server.ask("REPLICAOF", "127.0.0.1", 1)
    site.note("is a replica")
    site.rest(0.1, 0.8)
    site.server.ask("REPLICAOF", "NO", "ONE")
    site.note("is a primary")


def permissions(site: Site) -> None:
    """The writers lose the permission for one command that they need, and get it back, several times."""
    for _ in range(site.chance.randint(1, 5)):
        (command,) = site.chance.choices(tuple(_COMMANDS), tuple(_COMMANDS.values()))
        site.server.ask("ACL", "SETUSER", WRITER, f"-{command}")
        site.note(f"writers may not use {command}")
        site.rest(0.02, 0.4)
        site.server.ask("ACL", "SETUSER", WRITER, f"+{command}")
        site.note(f"writers may use {command}")
        site.rest(0.0, 0.1)


def kill_clients(site: Site) -> None:
    """The server closes connections of writers (CLIENT KILL), several times."""
    for _ in range(site.chance.randint(1, 10)):
        lines = site.server.ask("CLIENT", "LIST").decode().splitlines()
        clients = [dict(word.partition("=")[::2] for word in line.split()) for line in lines]
        chosen = [each["id"] for each in clients if each["user"] == WRITER and site.chance.random() < 0.5]
        for number in chosen:
            site.server.ask("CLIENT", "KILL", "ID", number)
        site.note(f"{len(chosen)} connections killed")
        site.rest(0.0, 0.1)


def flush_scripts(site: Site) -> None:
    """The server forgets its scripts (SCRIPT FLUSH), several times."""
    for _ in range(site.chance.randint(1, 10)):
        site.server.ask("SCRIPT", "FLUSH")
        site.rest(0.0, 0.1)
    site.note("scripts flushed")


def failover(site: Site) -> None:
    """A replica becomes the primary, and the address leads to it; for a while the old primary still serves connections."""
    old, new = site.server, site.replica
    assert new is not None
    new.wait_for_link()
    began = time.monotonic()
    if site.chance.random() < 0.5:
        old.kill()
        site.note("primary killed")
        site.rest(0.0, 0.3)
    new.ask("REPLICAOF", "NO", "ONE")
    site.server, site.replica = new, None
    site.proxy.lead_to(new.socket)
    site.note("replica promoted")
    site.rest(0.0, 0.4)
    old.kill()
    site.proxy.cut(1.0, "both")
    site.losses.append(Loss(began, time.monotonic()))
    site.note("old primary gone")


SERVER_KINDS: Final = (
    Fault("kill", "server", kill),
    Fault("cut_tail", "server", cut_tail, loses=True),
    Fault("stop", "server", stop),
    Fault("out_of_memory", "server", out_of_memory),
    Fault("read_only", "server", read_only),
    Fault("permissions", "server", permissions),
    Fault("kill_clients", "server", kill_clients),
    Fault("flush_scripts", "server", flush_scripts),
    Fault("failover", "server", failover, share=0.2, loses=True, needs_replica=True),
)
