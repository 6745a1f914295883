"""`make stress` itself, in small, and that it fails when a story does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer import Exit

from tests.stress import __main__ as stress

ROOT = Path(__file__).resolve().parents[2]


def test_every_story_holds_once() -> None:
    words = [sys.executable, "-m", "tests.stress", "--runs", "1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 stories held 1 runs in a row" in " ".join(done.stdout.split())


def test_a_story_that_fails_once_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reported: list[str] = []

    def story(kind: str) -> None:
        reported.append(kind)
        assert len(reported) < 3, "the third time"

    monkeypatch.setattr(stress, "STORIES", {"luck": story})
    with pytest.raises(Exit) as ended:
        stress.main(runs=5)
    shown = capsys.readouterr()
    assert (ended.value.exit_code, len(reported)) == (1, 3)
    assert "run 3 of 5 FAILED: luck" in shown.out
    assert "the third time" in shown.err
