"""The demonstration runs to its end on a real server and finds no drift."""

from __future__ import annotations

import pytest

from compozy_engine.demo import kind, main


def test_the_demo_ends_clean_and_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    shown = capsys.readouterr().out
    for said in ("EmailExistsError", "ConflictError", "CheckViolationError", "1 swept", "hash=<secret>"):
        assert said in shown


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("{a:v1:d:t:auth:0}:User:x:y", "User"),
        ("{a:v1:d:t:auth:0}:User.by_role:admin", "User.by_role"),
        ("{a:v1:d:t:auth:0}:@clock", "@clock"),
    ],
)
def test_a_key_is_shown_by_kind(key: str, expected: str) -> None:
    assert kind(key) == expected
