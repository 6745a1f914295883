"""What has to hold for every schema: it is refused with places, or its package imports, has types, and works."""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import black
from black.mode import TargetVersion

from keyweave.errors import CheckViolationError, UniqueViolationError, ValidationError
from keyweave_generator.load import load_sources
from keyweave_generator.model import Entity, Field, Schema, TypeKind
from keyweave_generator.problems import SchemaError
from keyweave_generator.render import render
from tests.schemas.draw import drawn
from tests.schemas.rows import element, row
from tests.servers.running import new_namespace, server_url

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PYRIGHT: Final = ROOT / ".pyright" / "node_modules" / "pyright" / "index.js"
_MODE: Final = black.Mode(line_length=110, target_versions={TargetVersion.PY311}, magic_trailing_comma=False)


def accepted(files: Mapping[str, str]) -> Schema | None:
    """The schema in the files; None when it is refused, each mistake with a place and a sentence."""
    try:
        return load_sources(files)
    except SchemaError as error:
        lines = [str(problem) for problem in error.problems]
    placed = [line for line in lines if re.fullmatch(r"[\w.]+(:\d+:\d+)?: [^\n]+", line)]
    assert lines == placed != []
    return None


def write(schema: Schema, folder: Path) -> list[str]:
    """Write the package of a schema into a folder, and return the paths of its modules."""
    files = render(schema)
    for path, text in files.items():
        if path.startswith(f"{schema.package}/lua/") and (folder / path).exists():
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return [path for path in files if path.endswith(".py")]


def check_layout(files: Mapping[str, str]) -> None:
    """Every module is what black makes of it."""
    for path, text in files.items():
        if path.endswith(".py") and "/aio/" not in path:
            assert black.format_str(text, mode=_MODE) == text, path


def play(schema: Schema, folder: Path, seed: int) -> None:
    """Import both flavours of a package, and write, find, merge and delete rows of each entity on a server."""
    sys.path.insert(0, str(folder))
    try:
        package = importlib.import_module(schema.package)
        blocking = importlib.import_module(f"{schema.package}.sync")
        importlib.import_module(f"{schema.package}.aio")
        with blocking.Store.open(server_url(), namespace=new_namespace("schemas")) as store:
            for entity in schema.entities:
                _play_entity(random.Random(seed), schema, package, blocking, store, entity)
            report = store.check()
            assert report.clean, report.drift
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == schema.package]:
            del sys.modules[name]


def _play_entity(
    draw: random.Random, schema: Schema, package: Any, blocking: Any, store: Any, entity: Any
) -> None:
    repository = next(
        getattr(store, name)
        for name in type(store).__slots__
        if type(getattr(store, name)) is getattr(blocking, f"{entity.name}Repository")
    )
    written = []
    for number in (0, 1):
        parts = {part.name: _part(package, schema, part, number) for part in entity.key_parts}
        key = tuple(parts.values())
        record = row(draw, package, schema, entity, parts)
        try:
            repository.create(record)
        except (CheckViolationError, UniqueViolationError):
            continue
        written.append(record)
        assert repository.get(*key) == record
        assert repository.get_many([key if len(key) > 1 else key[0]]) == [record]
        for view in entity.views:
            values = [getattr(record, name) for name in view.fields]
            method = f"{view.name}_" if hasattr(repository, f"{view.name}_") else view.name
            elements = [[each] for each in getattr(record, view.each) or ()] if view.each else [[]]
            for last in elements if None not in values else ():
                listed = getattr(repository, method)(*values, *last).page()
                assert record in listed or view.where is not None
        for unique in entity.uniques:
            values = [getattr(record, name) for name in unique.fields]
            if None not in values:
                assert getattr(repository, f"get_by_{unique.name}")(*values) == record
        assert repository.where(**parts).page().rows == [record]
        _save_changed(draw, package, schema, entity, repository, record)
        for merge in entity.merges:
            elements = [element(draw, package, schema, merge.record) for _ in range(3)]
            try:
                getattr(repository, f"merge_{merge.field}")(*key, elements)
            except CheckViolationError:
                continue
            except ValidationError as error:  # together the elements are more than the field may hold
                if not re.fullmatch(r"Expected `array` of length <= \d+", error.rule):
                    raise
    report = store.check()
    assert report.clean, report.drift
    for record in written:
        assert repository.discard(*[getattr(record, name) for name in entity.key_names]) is True


def _save_changed(
    draw: random.Random, package: Any, schema: Schema, entity: Entity, repository: Any, record: Any
) -> None:
    """Save a row as it is, then with the values of another one."""
    repository.save(record)
    key = {name: getattr(record, name) for name in entity.key_names}
    referring = {reference.field for reference in entity.references}
    other, changed = row(draw, package, schema, entity, key), repository.get(*key.values())
    for field in entity.fields:
        if field.managed is None and field.name not in referring:
            setattr(changed, field.name, getattr(other, field.name))
    try:
        repository.save(changed)
    except (CheckViolationError, UniqueViolationError):
        return
    for name in record.__struct_fields__:
        setattr(record, name, getattr(changed, name))
    assert repository.get(*key.values()) == record


def _part(package: Any, schema: Schema, field: Field, number: int) -> Any:
    """One of two values for a part of a key."""
    if field.type.kind is TypeKind.ENUM:
        return list(getattr(package, field.type.name))[-number]
    values = {"uuid": (UUID(int=1), UUID(int=2)), "int": (-1, 10)}
    return values.get(field.type.name, ("k1", "k2"))[number]


def mypy_finds(folder: Path, packages: Sequence[str], cache: Path) -> str:
    """What `mypy --strict` finds in the packages of a folder."""
    options = ["--config-file=", "--strict"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, f"--cache-dir={cache}"]
        + [word for package in packages for word in ("-p", package)],
        env={**os.environ, "MYPYPATH": os.pathsep.join([str(ROOT / "runtime"), str(folder)])},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.stdout.startswith("Success: no issues") else done.stdout + done.stderr


def pyright_finds(folder: Path) -> str:
    """What pyright finds in the packages of a folder. `make fuzz-schemas` brings it, from the npm registry."""
    settings = {
        "include": ["."],
        "extraPaths": [str(ROOT / "runtime")],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    node = shutil.which("node")
    assert node is not None, "pyright needs Node.js"
    done = subprocess.run(
        [node, str(PYRIGHT), "--pythonpath", sys.executable, "-p", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def hold(seeds: Sequence[int], folder: Path, *, layout: bool = True) -> tuple[list[str], list[str]]:
    """Play the schemas of the seeds. Returns the accepted packages and the failures, a text for each."""
    packages, failures = [], []
    for seed in seeds:
        try:
            schema = accepted(drawn(seed))
            if schema is None:
                continue
            write(schema, folder)
            if layout:
                check_layout(render(schema))
            play(schema, folder, seed)
            packages.append(schema.package)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is a finding, with its seed
            failures.append(f"seed {seed}: {type(error).__name__}: {error}"[:2000])
    return packages, failures
