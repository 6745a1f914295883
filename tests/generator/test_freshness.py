"""A tree that is up to date is not generated again, and a stale one never counts as up to date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyweave_generator import cli, freshness
from keyweave_generator.model import Schema
from tests.generator.example import PACKAGE, SALE


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


@pytest.fixture
def rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A project whose tree was generated; gets the package's name whenever the tree is made again."""
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema/package.yaml").write_text(PACKAGE, encoding="utf-8")
    (tmp_path / "schema/sale.yaml").write_text(SALE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run("generate").exit_code == 0
    made: list[str] = []
    real = cli._render

    def counted(schema: Schema) -> dict[str, str]:
        made.append(schema.package)
        return real(schema)

    monkeypatch.setattr(cli, "_render", counted)
    return made


@pytest.mark.parametrize("arguments", [("generate",), ("generate", "--check")])
def test_nothing_is_made_when_nothing_changed(rendered: list[str], arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith("generated: ")
    assert result.stdout.endswith(": up to date\n")
    assert rendered == []


MODELS = Path("generated/shop_store/models.py")


def in_place_of_a_file() -> None:
    MODELS.unlink()
    MODELS.mkdir()


def without_stamps() -> None:
    for path in freshness.STAMPS.glob("*.json"):
        path.unlink()


CHANGES: dict[str, Callable[[], object]] = {
    "a comment in the schema": lambda: Path("schema/sale.yaml").write_text(f"# new\n{SALE}"),
    "a new file of the schema": lambda: Path("schema/other.yaml").write_text(SALE.replace("Sale", "Other")),
    "a file of the schema gone": lambda: Path("schema/sale.yaml").rename("sale.txt"),
    "a file of the schema renamed": lambda: Path("schema/sale.yaml").rename("schema/sold.yaml"),
    "a generated file edited": lambda: MODELS.write_text(f"{MODELS.read_text()}\n"),
    "a generated file gone": MODELS.unlink,
    "a generated file that is a folder": in_place_of_a_file,
    "a damaged stamp": lambda: [path.write_text("[1") for path in freshness.STAMPS.glob("*.json")],
    "a stamp of another shape": lambda: [path.write_text("[]") for path in freshness.STAMPS.glob("*.json")],
    "no stamp": without_stamps,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("arguments", [("generate", "--check"), ("generate",)], ids=["check", "write"])
def test_every_change_is_seen(rendered: list[str], change: str, arguments: tuple[str, ...]) -> None:
    CHANGES[change]()
    first = run(*arguments)
    assert rendered == ["shop_store"] or "entity" in first.stderr or "folder" in first.stderr
    if arguments == ("generate",) and first.exit_code == 0:
        assert run("generate", "--check").exit_code == 0
        assert len(rendered) == 1


def test_another_generator_makes_the_tree_again(rendered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = freshness._own_files
    monkeypatch.setattr(freshness, "_own_files", lambda *at: [*real(*at), ("templates/new.j2", b"")])
    assert run("generate").exit_code == 0
    assert rendered == ["shop_store"]


def test_another_version_of_a_library_makes_the_tree_again(
    rendered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "_version", lambda name: f"{name} 0".encode())
    assert run("generate").exit_code == 0
    assert rendered == ["shop_store"]


def test_a_tree_that_was_found_stale_leaves_no_stamp(rendered: list[str]) -> None:
    MODELS.write_text("# edited\n")
    for _ in range(2):
        assert run("generate", "--check").exit_code == 1
    assert rendered == ["shop_store"] * 2


def test_each_pair_of_folders_has_its_own_stamp(rendered: list[str]) -> None:
    assert run("generate", "--output", "elsewhere").exit_code == 0
    assert run("generate").exit_code == run("generate", "--output", "elsewhere").exit_code == 0
    assert len(rendered) == 1


def test_git_does_not_see_the_stamps(rendered: list[str]) -> None:
    assert (freshness.STAMPS / ".gitignore").read_text() == "*\n"
