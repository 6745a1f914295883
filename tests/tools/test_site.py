"""The sources of the site and `llms.txt` follow the navigation; `make docs` builds the site itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.site import llms, stage
from tools.site.docstrings import with_literal_blocks
from tools.site.navigation import DOCS, ROOT, document, parts


def test_the_navigation_has_four_parts_for_users_and_one_for_contributors() -> None:
    assert [part.title for part in parts()] == ["Learn", "Do", "Operate", "Reference", "Contribute"]
    for part in parts():
        assert all(entry.file.is_file() and entry.sentence.endswith(".") for entry in part.entries)
        assert len(part.entries) >= 3


def test_llms_txt_is_made_from_the_navigation() -> None:
    if os.environ.get("KEYWEAVE_UPDATE_GOLDENS"):
        llms.FILE.write_text(llms.short(), encoding="utf-8")
    text = llms.FILE.read_text(encoding="utf-8")
    assert text == llms.short(), "out of date: python -m tools.site.llms"
    for part in parts():
        assert f"\n## {part.title}\n" in text
        for entry in part.entries:
            assert f"/raw/main/{entry.file.relative_to(ROOT).as_posix()}): {entry.sentence}\n" in text


def test_the_full_text_has_every_page_without_its_comments() -> None:
    text = llms.full()
    for part in parts():
        for entry in part.entries:
            assert f"<!-- {entry.file.relative_to(ROOT).as_posix()} -->\n\n# " in text
    assert "<!-- not run" not in text and "<!-- setup" not in text


def test_links_are_those_of_the_place_in_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = DOCS / "operations" / "a.md"
    text = (
        "[a](../limits.md#queries) [b](../../ARCHITECTURE.md) [c](../../compose.yaml) [d](https://x.org)\n"
        "![e](../studio/rows.png) [f](#here)\n\n```console\n$ [g](../limits.md)\n```\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text if self == page else "")
    monkeypatch.setattr(stage, "repository", lambda: "https://host/blob/main")
    pages = {file: document(file) for file in (page, DOCS / "limits.md", ROOT / "ARCHITECTURE.md")}
    assert stage._page(page, pages) == (
        "[a](../limits.md#queries) [b](../project/architecture.md) "
        "[c](https://host/blob/main/compose.yaml) [d](https://x.org)\n"
        "![e](../studio/rows.png) [f](#here)\n\n```console\n$ [g](../limits.md)\n```\n"
    )


def test_a_link_without_a_target_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    page = DOCS / "limits.md"
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: "[a](gone.md)")
    with pytest.raises(FileNotFoundError, match=r"docs/limits\.md: the link gone\.md has no target"):
        stage._page(page, {page: "limits"})


def test_the_sources_are_written_once_and_what_is_gone_is_removed(tmp_path: Path) -> None:
    stage.stage(tmp_path)
    (tmp_path / "old.md").write_text("gone")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    stage.stage(tmp_path)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after == {path: time for path, time in before.items() if path.name != "old.md"}
    assert {"index.md", "api/errors.md", "project/architecture.md", "operations/runbooks.md"} <= {
        path.relative_to(tmp_path).as_posix() for path in after
    }


def test_indented_code_of_a_docstring_becomes_a_literal_block() -> None:
    lines = ["Use it:", "", "    a = 1", "", "    b = 2", "", "Raises:", "    KeyError: no.", ""]
    assert with_literal_blocks(lines) == [
        *("Use it:", "", "::", "", "    a = 1", "", "    b = 2", ""),
        *("Raises:", "    KeyError: no.", ""),
    ]
