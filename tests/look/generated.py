"""Stores of accepted schemas on the server under test, as a project has them: a folder with `generated/`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keyweave.cli import commands
from keyweave_generator.load import load_sources
from keyweave_generator.render import render
from tests.servers.running import new_namespace, server_url

CASES = Path(__file__).resolve().parents[1] / "cases" / "accepted"

app = commands.assemble(commands.installed())


class Project:
    """A project in a folder, with an open store of its own namespace.

    Args:
        package: the generated package.
        store: the open store.
        namespace: the store's.
    """

    def __init__(self, package: str, store: Any, namespace: str) -> None:
        self.package = package
        self.store = store
        self.namespace = namespace
        self.models = importlib.import_module(package)

    def keyweave(self, *words: str) -> Result:
        """Run a command of the command line on this store."""
        shared = ["--url", server_url(), "--package", self.package, "--namespace", self.namespace]
        where = words.index("--") if "--" in words else len(words)
        return CliRunner().invoke(app, [*words[:where], *shared, *words[where:]])


@contextmanager
def project_of(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with the schema of an accepted case, in the current folder."""
    package = f"looked_up_{case}_store"
    files = {path.name: path.read_text("utf-8") for path in (CASES / case / "schema").glob("*.yaml")}
    files["package.yaml"] = files["package.yaml"].replace(f"package: {case}_store", f"package: {package}")
    for path, text in render(load_sources(files)).items():
        (folder / "generated" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "generated" / path).write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder / "generated"), *sys.path])
    namespace = new_namespace(f"look-{case}")
    try:
        with importlib.import_module(f"{package}.sync").Store.open(
            server_url(), namespace=namespace
        ) as store:
            yield Project(package, store, namespace)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
