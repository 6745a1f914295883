"""Each case directory is a schema and, for the smallest one and for one that uses the whole language, a golden tree.

`KEYWEAVE_UPDATE_GOLDENS=1` rewrites the golden trees; read the difference before you commit it. What the packages do
is shown by the stories in `accepted/`; its `test_language` says how much of the language the cases use.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from keyweave_generator.load import load_sources
from keyweave_generator.names import (
    ARGUMENT_NAMES,
    KEY_OPTION_NAMES,
    PARTITION_OPTION_NAMES,
    argument_name,
    key_argument_name,
    partition_argument_name,
)
from tests.generator.accepted.corpus import (
    CASES,
    GOLDEN,
    NAMES,
    Corpus,
    generated,
    golden,
    package_name,
    sources,
)
from tests.generator.accepted.flavours import as_blocking
from tests.generator.example import ROOT

UPDATE = os.environ.get("KEYWEAVE_UPDATE_GOLDENS") == "1"
REAL = ROOT / "generated"
"""The tree of the engine's schema; a test of the command compares it with the generator's, to the byte."""

STORE_ELSEWHERE = {"smallest": ("note_store/sync/__init__.py",)}
"""Left out of a golden tree: a module that the other one shows, but for the names of repositories; a test compares them."""

WIDTH = 400

DIGESTS = """
import hashlib
from tests.generator.accepted.corpus import NAMES, generated
for name in NAMES:
    print(name, hashlib.sha256(repr(generated(name)).encode()).hexdigest())
"""


def tree(folder: Path) -> dict[str, bytes]:
    """The files of a folder, without what Python itself puts there when it imports them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }


def renew(name: str, files: dict[str, bytes]) -> None:
    """Write the golden tree of a case."""
    shutil.rmtree(golden(name), ignore_errors=True)
    for path, content in files.items():
        (golden(name) / path).parent.mkdir(parents=True, exist_ok=True)
        (golden(name) / path).write_bytes(content)


def folded(value: Any, depth: int = 0) -> str:
    """JSON with as many parts on a line as fit there: the golden tree keeps a manifest so."""
    line = json.dumps(value, ensure_ascii=False, sort_keys=True)
    if len(line) + depth <= WIDTH or not isinstance(value, dict | list):
        return line
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {folded(each, depth + 1)}" for name, each in sorted(value.items())]
    else:
        parts = [folded(each, depth + 1) for each in value]
    lines = parts[:1]
    for part in parts[1:]:
        if "\n" in part + lines[-1] or len(lines[-1]) + len(part) + depth > WIDTH:
            lines.append(part)
        else:
            lines[-1] += f", {part}"
    begin = "\n" + " " * (depth + 1)
    first, last = "{}" if isinstance(value, dict) else "[]"
    return first + begin + f",{begin}".join(lines) + begin[:-1] + last


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_is_indented_json(name: str) -> None:
    """Together with the content in the golden tree, this is the manifest to the byte."""
    text = generated(name)[f"{package_name(name)}/manifest.json"]
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", GOLDEN)
def test_a_tree_is_generated_to_the_byte(name: str) -> None:
    package = package_name(name)
    elsewhere = (f"{package}/aio/", f"{package}/lua/", *STORE_ELSEWHERE.get(name, ()))
    texts = {path: text for path, text in generated(name).items() if not path.startswith(elsewhere)}
    texts[f"{package}/manifest.json"] = folded(json.loads(texts[f"{package}/manifest.json"])) + "\n"
    made = {path: text.encode() for path, text in texts.items()}
    if UPDATE:
        renew(name, made)
    found = tree(golden(name))
    assert sorted(found) == sorted(made)
    for path, content in made.items():
        assert found[path].decode() == content.decode(), path


def test_the_store_of_the_smallest_schema_is_the_other_one_with_names_of_its_own() -> None:
    """So one golden tree is enough to show it."""
    ((path,),) = STORE_ELSEWHERE.values()
    made = generated("smallest")[path].splitlines()
    shown = (golden("complete") / "museum_store/sync/__init__.py").read_text("utf-8").splitlines()
    assert [line for line in made if line not in shown] == [
        '"""Generated repositories of note_store.',
        "from .note import NoteRepository",
        '__all__ = ["Store", "Transaction", "NoteRepository"]',
        '    __slots__ = ("_session", "notes")',
        "        self.notes = NoteRepository(session)",
        '    __slots__ = ("_session", "notes")',
        "        self.notes = NoteRepository(session)",
    ]
    assert [line for line in made if line in shown] == [line for line in shown if line in made]


def flavours(files: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The modules of the blocking and of the asyncio flavour of a package: file name -> text."""
    found: dict[str, dict[str, str]] = {"sync": {}, "aio": {}}
    for path, text in files.items():
        _, *folders, file = path.split("/")
        if folders and folders[0] in found:
            found[folders[0]][file] = text
    return found["sync"], found["aio"]


@pytest.mark.parametrize("name", [*NAMES, "the engine's"])
def test_the_asyncio_flavour_is_the_blocking_one_that_waits(name: str) -> None:
    real = {path: content.decode() for path, content in tree(REAL).items()}
    blocking, waiting = flavours(generated(name) if name in NAMES else real)
    assert waiting.keys() == blocking.keys() > {"__init__.py"}
    for file, text in waiting.items():
        assert as_blocking(text) == blocking[file], file


def unnamed(script: str) -> str:
    """A script without the lines of its header that may name a schema."""
    lines = script.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("-- Generated by", "-- Entities:")))


@pytest.mark.parametrize("name", NAMES)
def test_the_scripts_are_those_of_every_schema(name: str) -> None:
    beginning = f"{package_name(name)}/lua/"
    made = {
        path.removeprefix(beginning): unnamed(text)
        for path, text in generated(name).items()
        if path.startswith(beginning)
    }
    lua = REAL / "compozy_store" / "lua"
    assert made == {path.name: unnamed(path.read_text("utf-8")) for path in lua.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_lists_every_file_and_the_keyspace_page_every_key(name: str) -> None:
    package, files = package_name(name), generated(name)
    assert json.loads(files[f"{package}/manifest.json"])["files"] == sorted(files)
    page = files[f"{package}/KEYSPACE.md"].split("## Of each partition")[0]
    keys = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    expected = []
    for entity in load_sources(sources(name)).entities:
        expected.append(f"{entity.name}:{'!'.join(f'<{name}>' for name in entity.key_names)}")
        expected += [
            f"{entity.name}.{view.stored}{''.join(f':<{field}>' for field in (*view.fields, *filter(None, [view.each])))}"
            for view in entity.views
        ]
        expected += [f"{entity.name}.{unique.stored}" for unique in entity.uniques]
    assert keys == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_keyspace_page_shows_members_as_they_are_stored(name: str) -> None:
    """A member is the id of a row: of a composite key its parts, joined as in the key of the document."""
    page = generated(name)[f"{package_name(name)}/KEYSPACE.md"]
    rows = [
        line.split(" | ")[2]
        for line in page.splitlines()
        if "| sorted set |" in line and "@expiry" not in line
    ]
    members = {
        row.split(" by ")[0] if " by " in row.split(",")[0] else row.split("NUL and ")[1].split(",")[0]
        for row in rows
    }
    assert members <= {"!".join(entity.key_names) for entity in load_sources(sources(name)).entities}


def test_the_keyspace_page_has_the_same_keys_of_a_partition_as_the_documentation() -> None:
    page = generated("smallest")[f"{package_name('smallest')}/KEYSPACE.md"].split("## Of each partition")[1]
    pages = [page, (ROOT / "docs" / "keyspace.md").read_text("utf-8")]
    listed, documented = (
        set(re.findall(r"^\| `[^`]*?(@[a-z]+)", text, flags=re.MULTILINE)) for text in pages
    )
    assert listed == documented


def test_no_run_gives_other_bytes() -> None:
    """Another process orders its sets in another way; only what is written twice may be the same."""
    expected = {name: hashlib.sha256(repr(generated(name)).encode()).hexdigest() for name in NAMES}
    for seed in ("1", "2"):
        again = subprocess.run(
            [sys.executable, "-c", DIGESTS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert dict(line.split() for line in again.stdout.splitlines()) == expected


@pytest.mark.parametrize("name", NAMES)
def test_every_module_compiles_without_a_warning_and_is_imported(corpus: Corpus, name: str) -> None:
    package, folder = corpus.load(name), corpus.folder(name)
    modules = {path: content for path, content in tree(folder).items() if path.endswith(".py")}
    assert f"{package.__name__}/models.py" in modules
    for path, content in modules.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(content, path, "exec")
        module = importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        assert module.__file__ == str(folder / path)
        for exported in getattr(module, "__all__", ()):
            assert hasattr(module, exported), f"{path}: {exported}"


@pytest.mark.parametrize("name", NAMES)
def test_no_argument_of_a_field_has_the_name_of_an_option(corpus: Corpus, name: str) -> None:
    package = corpus.load(name)
    repositories = importlib.import_module(f"{package.__name__}.sync")
    for entity in importlib.import_module(f"{package.__name__}.package").PACKAGE.entities.values():
        fields = {argument_name(field) for field in entity.record.__struct_fields__} - {"key"}
        parts = {key_argument_name(part) for part in entity.parts}
        repository = getattr(repositories, f"{entity.name}Repository")
        own = [(name, each) for name, each in vars(repository).items() if inspect.isfunction(each)]
        for method, function in own:
            parameters = inspect.signature(function).parameters
            arguments = set(parameters)
            place = partition_argument_name(entity.partition_by)
            if place in parameters and parameters[place].kind is inspect.Parameter.KEYWORD_ONLY:
                assert place not in PARTITION_OPTION_NAMES
                arguments.remove(place)  # beside a key
            beside = {each for each in arguments - fields if not each.startswith("having_")}
            if parts and parts <= arguments:
                assert arguments - parts <= ARGUMENT_NAMES | KEY_OPTION_NAMES, method
                assert not parts & KEY_OPTION_NAMES
            elif arguments & fields and "key" not in arguments:
                assert beside <= ARGUMENT_NAMES, method


def test_an_argument_steps_aside_only_for_an_option(corpus: Corpus) -> None:
    used: set[str] = set()
    for name in NAMES:
        for path, content in tree(corpus.folder(name)).items():
            if path.endswith(".py"):
                nodes = list(ast.walk(ast.parse(content)))
                used |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    assert used >= ARGUMENT_NAMES, sorted(ARGUMENT_NAMES - used)


def number_of_modules() -> int:
    return sum(path.endswith(".py") for name in NAMES for path in generated(name))


def test_every_tree_passes_mypy_strict(corpus: Corpus, tmp_path: Path) -> None:
    path = os.pathsep.join(map(str, [ROOT / "runtime", *(corpus.folder(name) for name in NAMES)]))
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
    assert int(found.stdout.split()[5]) >= number_of_modules()


def test_every_tree_is_formatted(corpus: Corpus) -> None:
    options = ["--check", "--config", os.devnull, "--line-length", "110", "--target-version", "py311"]
    found = subprocess.run(
        [sys.executable, "-m", "black", *options, *(str(corpus.folder(name)) for name in NAMES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert f"{number_of_modules()} files would be left unchanged." in found.stderr


def test_every_case_is_complete_and_has_a_package_of_its_own() -> None:
    for name in NAMES:
        folders = ["expected", "schema"] if name in GOLDEN else ["schema"]
        assert sorted(path.name for path in (CASES / name).iterdir()) == folders
    assert len({package_name(name) for name in NAMES}) == len(NAMES)


def test_every_case_has_a_story() -> None:
    stories = {
        path.stem.removeprefix("test_") for path in (Path(__file__).parent / "accepted").glob("test_*.py")
    }
    assert stories - {"language"} == set(NAMES)
