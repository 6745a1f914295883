"""Each case directory is a schema and the tree that is generated from it, byte for byte.

`KEYWEAVE_UPDATE_GOLDENS=1` rewrites every tree; read the difference before you commit it. What the trees do
is told by the stories in `accepted/`; its `test_language` says how much of the language the cases use.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from keyweave_generator.load import load_sources
from keyweave_generator.names import ARGUMENT_NAMES, KEY_ARGUMENT_NAMES
from keyweave_generator.render import render
from tests.generator.accepted.corpus import CASES, NAMES, expected, load_package, package_name, sources
from tests.generator.example import ROOT

UPDATE = os.environ.get("KEYWEAVE_UPDATE_GOLDENS") == "1"

DIGESTS = """
import hashlib
from keyweave_generator.render import render
from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import NAMES, sources
for name in NAMES:
    print(name, hashlib.sha256(repr(render(load_sources(sources(name)))).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def generated() -> dict[str, dict[str, str]]:
    """What the generator makes of each case, path -> text; written as the new trees when they are renewed."""
    made = {name: render(load_sources(sources(name))) for name in NAMES}
    if UPDATE:
        for name, files in made.items():
            shutil.rmtree(expected(name), ignore_errors=True)
            for path, text in files.items():
                (expected(name) / path).parent.mkdir(parents=True, exist_ok=True)
                (expected(name) / path).write_bytes(text.encode())
    return made


def tree(name: str) -> dict[str, bytes]:
    """The files of a case's tree, without what Python itself puts there when it imports them."""
    return {
        path.relative_to(expected(name)).as_posix(): path.read_bytes()
        for path in expected(name).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_is_generated_to_the_byte(generated: dict[str, dict[str, str]], name: str) -> None:
    found, made = tree(name), generated[name]
    assert sorted(found) == sorted(made)
    for path, text in made.items():
        assert found[path].decode() == text, path


def test_no_run_gives_other_bytes(generated: dict[str, dict[str, str]]) -> None:
    """Another process orders its sets in another way; only what is written twice may be the same."""
    for seed in ("1", "2"):
        again = subprocess.run(
            [sys.executable, "-c", DIGESTS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests = dict(line.split() for line in again.stdout.splitlines())
        assert digests == {
            name: hashlib.sha256(repr(files).encode()).hexdigest() for name, files in generated.items()
        }


@pytest.mark.usefixtures("generated")
@pytest.mark.parametrize("name", NAMES)
def test_every_module_compiles_without_a_warning_and_is_imported(name: str) -> None:
    package = load_package(name)
    modules = [path for path in tree(name) if path.endswith(".py")]
    assert f"{package.__name__}/models.py" in modules
    for path in modules:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(tree(name)[path], path, "exec")
        module = importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        assert module.__file__ == str(expected(name) / path)
        for exported in getattr(module, "__all__", ()):
            assert hasattr(module, exported), f"{path}: {exported}"


@pytest.mark.usefixtures("generated")
@pytest.mark.parametrize("name", NAMES)
def test_no_field_can_have_the_name_of_an_argument_that_stands_beside_it(name: str) -> None:
    package = load_package(name)
    repositories = importlib.import_module(f"{package.__name__}.sync")
    for entity in importlib.import_module(f"{package.__name__}.package").PACKAGE.entities.values():
        fields = frozenset(entity.record.__struct_fields__)
        repository = getattr(repositories, f"{entity.name}Repository")
        for method, function in inspect.getmembers(repository, inspect.isfunction):
            arguments = inspect.signature(function).parameters.keys()
            refused = ARGUMENT_NAMES | (KEY_ARGUMENT_NAMES if entity.key in arguments else frozenset())
            beside = {each for each in arguments - fields if not each.startswith("having_")}
            assert beside <= refused or not arguments & fields, method


@pytest.mark.usefixtures("generated")
def test_every_tree_passes_mypy_strict(tmp_path: Path) -> None:
    path = os.pathsep.join(map(str, [ROOT / "runtime", *(expected(name) for name in NAMES)]))
    packages = [word for name in NAMES for word in ("-p", package_name(name))]
    options = ["--config-file=", "--strict", "--warn-unreachable", "--enable-error-code=truthy-bool"]
    found = subprocess.run(
        [sys.executable, "-m", "mypy", *options, f"--cache-dir={tmp_path}", *packages],
        env={**os.environ, "MYPYPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.startswith("Success: no issues found in "), found.stdout + found.stderr
    assert int(found.stdout.split()[5]) >= sum(path.endswith(".py") for name in NAMES for path in tree(name))


@pytest.mark.usefixtures("generated")
def test_every_tree_is_formatted() -> None:
    options = ["--check", "--config", os.devnull, "--line-length", "110", "--target-version", "py311"]
    found = subprocess.run(
        [sys.executable, "-m", "black", *options, *(str(expected(name)) for name in NAMES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    number = sum(path.endswith(".py") for name in NAMES for path in tree(name))
    assert f"{number} files would be left unchanged." in found.stderr


def test_every_case_is_complete_and_has_a_package_of_its_own() -> None:
    assert sorted(path.name for case in CASES.iterdir() for path in case.iterdir()) == sorted(
        [*["expected"] * len(NAMES), *["schema"] * len(NAMES)]
    )
    assert len({package_name(name) for name in NAMES}) == len(NAMES)


def test_every_case_has_a_story() -> None:
    stories = {
        path.stem.removeprefix("test_") for path in (Path(__file__).parent / "accepted").glob("test_*.py")
    }
    assert stories - {"language"} == set(NAMES)
