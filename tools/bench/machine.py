"""The environment of a run: the machine, the libraries and the servers."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from tools.bench.results import Machine
from tools.bench.world import Server

LIBRARIES: Final = ("asyncpg", "hiredis", "msgspec", "redis", "SQLAlchemy")

SEARCH: Final = frozenset({"search", "searchlight", "ft"})
"""Names under which the module that redis-om needs is listed."""


def machine(versions: dict[str, str]) -> Machine:
    """This machine, with the versions of servers that were found."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    known = {"Python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}}
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(pages * size / 2**30, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        versions=known | versions,
    )


async def server_version(server: Server) -> dict[str, str]:
    """Name and version of a Redis or Valkey."""
    found: dict[str, Any] = await server.client.info("server")
    if "valkey_version" in found:
        return {"Valkey": str(found["valkey_version"])}
    return {"Redis": str(found["redis_version"])}


async def has_search(server: Server) -> bool:
    """Whether a server has the module that redis-om needs for its queries."""
    modules: Any = await server.client.module_list()  # type: ignore[no-untyped-call]
    return any(str(word) in SEARCH for module in modules for word in _words(module))


def _words(module: Any) -> list[str]:
    values = module.values() if isinstance(module, dict) else module
    return [each.decode() if isinstance(each, bytes) else str(each) for each in values]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
