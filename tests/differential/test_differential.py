"""Random schemas with random steps: a store agrees with a plain model, whatever ends, is freed or is swept.

Each run has a new seed, which a failure prints. `KEYWEAVE_DIFFERENTIAL_SEED` plays it again.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random, SystemRandom
from types import ModuleType
from typing import Any, Final

import pytest

from keyweave.admin.permissions import Role, rule
from keyweave.connection.settings import parse_url
from keyweave.opening.prepare import prepare
from keyweave_generator.load import load_sources
from keyweave_generator.render import render_modules
from keyweave_generator.scripts import scripts
from tests.declared import DeclaredKeys
from tests.differential.play import Play
from tests.differential.schemas import random_kinds, sources
from tests.harness import AT_ONCE, FLAVOURS, harness
from tests.servers.running import Running, configured_server

SEED: Final = "KEYWEAVE_DIFFERENTIAL_SEED"
SCHEMAS: Final = 200
PARTS: Final = 8
STEPS: Final = 40
RULES: Final = ("any", "any", "declared keys", "access rule")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server() as running:
        yield running


@pytest.mark.parametrize("part", range(PARTS))
def test_a_store_of_a_random_schema_agrees_with_a_model(
    server: Running, part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    given = os.environ.get(SEED)
    for _ in range(1 if given else SCHEMAS // PARTS):
        seed = int(given) if given else SystemRandom().randrange(10**9)
        if not given or part == 0:
            play(server, seed, tmp_path)


def play(server: Running, seed: int, folder: Path) -> None:
    """Play one seed. A failure says how to repeat it."""
    random = Random(seed)
    kinds = random_kinds(random)
    name = f"differential_{seed}_store"
    package = generated(folder, name, sources(name, kinds))
    flavour, limited = random.choice(FLAVOURS), random.choice(RULES)
    freed = random.random() < 0.6
    options: dict[str, Any] = {
        "retention": {kind.name: AT_ONCE for kind in kinds if kind.ends is not None},
        "grace_ms": 1 if freed else 600_000,
        "sweep_every": 0,
    }
    game: Play | None = None
    try:
        with ExitStack() as stack:
            admin = stack.enter_context(
                harness(flavour, "differential", module=package, url=server.url, **options)
            )
            more: dict[str, Any] = {"url": server.url}
            if limited == "declared keys":
                more["connection_factory"] = DeclaredKeys(parse_url(server.url)).factory(flavour)
            if limited == "access rule":
                more["url"] = permitted(server, package, admin.namespace)
            stores = stack.enter_context(harness(flavour, admin, module=package, **more, **options))
            game = Play(random, package, kinds, stores, admin)
            game.run(STEPS)
    except BaseException as error:
        error.add_note(f"{SEED}={seed} ({flavour}, {limited}, {'freed' if freed else 'ended'})")
        for kind in kinds:
            error.add_note(kind.yaml())
        error.add_note("\n".join(game.steps if game is not None else ()))
        raise
    finally:
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[module]
        shutil.rmtree(folder / name)


def generated(folder: Path, name: str, files: dict[str, str]) -> ModuleType:
    """Import the package of a schema. Its modules are not formatted, which would take most of the time."""
    texts = render_modules(load_sources(files))
    texts |= {f"{name}/lua/{script}.lua": text for script, text in scripts().items()}
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    package = importlib.import_module(name)
    for flavour in FLAVOURS:
        importlib.import_module(f"{name}.{flavour}")
    return package


def permitted(server: Running, package: Any, namespace: str) -> str:
    """Make a user with the printed rule of an application, and return the URL with which it connects."""
    settings, context = prepare(package.PACKAGE, server.url, namespace=namespace)
    user, *words = rule(context, settings, Role.APPLICATION, f"user-{namespace}")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", user, *words)
        client.execute_command("ACL", "SETUSER", user, ">word")
    return server.url.replace("unix://", f"unix://{user}:word@")
