"""docs/operations/*.svg: what the commands print about real servers, as pictures.

`python -m tools.pages.screens` takes them: one server is misconfigured on purpose, the other follows compose.yaml.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.text import Text

from keyweave.admin import doctor, probe
from keyweave.health.diagnose import diagnose
from keyweave.health.limits import Limits
from keyweave.health.report import Health
from tests.operations.examined import examined, levels_at
from tests.operations.test_compose import settings
from tests.servers.running import configured_server

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "operations"

_ADDRESS: Final = "redis.internal:6379"
"""The address that the pictures show; the real one is a temporary path."""


def screens() -> dict[str, str]:
    """Every picture: file name -> SVG."""
    with configured_server(maxmemory="2mb", maxmemory_policy="allkeys-lru", save="3600 1") as server:
        with server.client() as client:
            while (share := examined(server.url).memory_share) is not None and share < 0.85:
                client.set(f"key{share}", "x" * 20_000)
        bad = _elsewhere(examined(server.url), encrypted=False)
        durability = levels_at(server.url)
    with configured_server(**settings()) as server:
        good = _elsewhere(examined(server.url), encrypted=True)
    url = f"rediss://{_ADDRESS}"
    return {
        "doctor.svg": _picture(f"keyweave doctor --url redis://{_ADDRESS}", doctor.page(bad, durability)),
        "health.svg": _picture(f"keyweave health --url {url}", Group(*map(Text, probe.lines(good)))),
    }


def _elsewhere(found: Health, *, encrypted: bool) -> Health:
    """The same server, as if it were reached over a network."""
    moved = msgspec.structs.replace(found, address=_ADDRESS, encrypted=encrypted, local=False, latency=0.0004)
    return msgspec.structs.replace(moved, findings=diagnose(moved, Limits()))


def _picture(command: str, output: RenderableType) -> str:
    console = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(Text(f"$ {command}", style="bold"))
    console.print(output)
    svg = console.export_svg(title="keyweave")
    # Fonts from another site would let that site track readers; the reader's own fonts are enough.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def main() -> int:
    """Take the pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, svg in screens().items():
        (FOLDER / name).write_text(svg, encoding="utf-8")
        sys.stdout.write(f"wrote operations/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
