"""Writing the output: all files or none, only what changed, and nothing that is not generated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keyweave_generator import output
from keyweave_generator.output import Difference, Kind, OutputError, outdated, write
from keyweave_generator.stamp import NOTICE

MANIFEST = "shop/manifest.json"


def files(**texts: str) -> dict[str, str]:
    """Generated files: Python modules by name, and the manifest that lists them."""
    made = {f"shop/{name.replace('__', '/')}.py": f"# {NOTICE}\n{text}\n" for name, text in texts.items()}
    return {**made, MANIFEST: json.dumps({"files": sorted([*made, MANIFEST])})}


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def changes(differences: list[Difference]) -> dict[str, str]:
    return {each.path: each.kind.value for each in differences if each.path != MANIFEST}


def test_everything_is_written_into_a_folder_that_was_not_there(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "out"
    wanted = files(a="1", sub__b="2")
    assert changes(write(root, wanted)) == {"shop/a.py": "missing", "shop/sub/b.py": "missing"}
    assert tree(root) == {path: text.encode() for path, text in wanted.items()}
    assert outdated(root, wanted) == []


def test_files_that_are_up_to_date_are_not_written(tmp_path: Path) -> None:
    write(tmp_path, files(a="1", b="1"))
    before = (tmp_path / "shop/a.py").stat()
    assert changes(write(tmp_path, files(a="1", b="2"))) == {"shop/b.py": "changed"}
    after = (tmp_path / "shop/a.py").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_line_ends_and_letters_are_written_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, {"shop/ü.py": f"# {NOTICE}\r\n# größe\n"})
    assert (tmp_path / "shop/ü.py").read_bytes() == f"# {NOTICE}\r\n# größe\n".encode()


def test_files_of_a_removed_entity_are_deleted_with_their_folder(tmp_path: Path) -> None:
    write(tmp_path, files(a="1", gone__b="1", gone__c="1"))
    found = write(tmp_path, files(a="1"))
    assert changes(found) == {"shop/gone/b.py": "orphaned", "shop/gone/c.py": "orphaned"}
    assert sorted(tree(tmp_path)) == ["shop/a.py", MANIFEST]
    assert not (tmp_path / "shop/gone").exists()


def test_files_that_were_not_generated_are_never_deleted(tmp_path: Path) -> None:
    write(tmp_path, files(a="1", sub__b="1"))
    (tmp_path / "shop/sub/mine.py").write_text("mine")
    write(tmp_path, files(a="1"))
    assert (tmp_path / "shop/sub/mine.py").read_text() == "mine"
    assert not (tmp_path / "shop/sub/b.py").exists()


def test_a_file_of_the_user_is_not_overwritten_and_nothing_else_is_written(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/b.py").write_text("mine")
    with pytest.raises(OutputError, match=r"shop/b\.py: not a generated file"):
        write(tmp_path, files(a="1", b="1"))
    assert tree(tmp_path) == {"shop/b.py": b"mine"}


def test_a_marked_file_is_overwritten_even_without_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/a.py").write_text(f"# {NOTICE}\nold\n")
    write(tmp_path, files(a="1"))
    assert (tmp_path / "shop/a.py").read_text() == files(a="1")["shop/a.py"]


@pytest.mark.parametrize(
    "manifest", ["", "[", "[]", "7", '{"files": 7}', '{"files": [7, null]}', "[" * 10_000, "\x00"]
)
def test_a_damaged_manifest_lists_nothing(tmp_path: Path, manifest: str) -> None:
    write(tmp_path, files(a="1"))
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(OutputError, match="not a generated file"):
        write(tmp_path, files(b="1"))
    assert (tmp_path / "shop/a.py").exists()


@pytest.mark.parametrize("path", ["../precious", "precious", "/etc/hostname", "shop/../precious", "shop"])
def test_a_manifest_cannot_point_outside_its_package(tmp_path: Path, path: str) -> None:
    root = tmp_path / "out"
    write(root, files(a="1"))
    (tmp_path / "precious").write_text("mine")
    (root / "precious").write_text("mine")
    (root / MANIFEST).write_text(json.dumps({"files": ["shop/a.py", path, MANIFEST]}))
    write(root, files(a="1"))
    assert (tmp_path / "precious").read_text() == "mine"
    assert (root / "precious").read_text() == "mine"


def test_comparing_writes_nothing_and_names_each_difference(tmp_path: Path) -> None:
    write(tmp_path, files(a="1", b="1"))
    before = tree(tmp_path)
    found = outdated(tmp_path, files(a="2", c="1"))
    assert changes(found) == {"shop/a.py": "changed", "shop/b.py": "orphaned", "shop/c.py": "missing"}
    assert [each.path for each in found] == sorted(each.path for each in found)
    assert tree(tmp_path) == before


def test_comparing_with_nothing_finds_everything_missing(tmp_path: Path) -> None:
    found = outdated(tmp_path / "none", files(a="1"))
    assert {each.kind for each in found} == {Kind.MISSING}


def test_an_output_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out"):
        write(tmp_path / "out", files(a="1"))
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_in_the_way_of_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "shop/b.py").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"b\.py: there is a folder"):
        write(tmp_path, files(a="1", b="1"))
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("failing", range(9))
def test_a_failure_at_any_step_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    write(tmp_path, files(a="1", b="1", gone="1"))
    before = tree(tmp_path)
    steps = _failing_after(failing, monkeypatch)
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path, files(a="2", b="2", fresh__c="2"))
    monkeypatch.undo()
    assert steps() == failing + 1
    assert tree(tmp_path) == before
    assert not (tmp_path / "shop/fresh").exists()


def _failing_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Let the disk be full after `calls` steps that write, rename or delete; return how many were tried."""
    tried = 0

    def limited(real: Callable[..., object]) -> Callable[..., object]:
        def step(self: output._Step, *arguments: object, **options: object) -> object:
            nonlocal tried
            tried += 1
            if tried > calls:
                raise OSError(28, "No space left on device", str(arguments[0]))
            return real(self, *arguments, **options)

        return step

    for name in ("stage", "_publish_one", "remove"):
        monkeypatch.setattr(output._Step, name, limited(getattr(output._Step, name)))
    return lambda: tried
