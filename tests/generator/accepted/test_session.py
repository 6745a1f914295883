"""Accounts and sessions: secrets are never shown, moments increase, and rows expire at their deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyweave.errors import ConfigurationError, UniqueViolationError, ValidationError
from keyweave.model.record import memory_of
from tests.generator.accepted.conftest import Open
from tests.generator.accepted.stage import Stage

CASE = "session"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
SECRETS = ("4711", "hashed!!", "moon", "mars", "10.0.0.7", "lost-code", "reset")


def account(stage: Stage, key: str = "a1", **more: Any) -> Any:
    given = {
        "id": key,
        "name": " Ada ",
        "pin": "4711",
        "password_hash": b"hashed!!",
        "recovery": ["moon"],
        "created_at": NOON,
        "updated_at": NOON,
    }
    return stage.package.Account(**{**given, **more})


def sign_in(stage: Stage, key: str = "s1", **more: Any) -> Any:
    client = stage.package.Client(name=" Browser ", address="10.0.0.7")
    given = {"id": key, "account": "a1", "digest": b"mars", "client": client}
    return stage.package.SignIn(**{**given, "closed": False, "seen_at": NOON, "renewed_at": NOON, **more})


def token(stage: Stage, key: str = "t1", **more: Any) -> Any:
    purpose = stage.package.Purpose.RESET
    given = {"id": key, "account": "a1", "purpose": purpose, "code": " lost-code ", "tries": 2}
    return stage.package.OneTimeToken(**{**given, **more})


def attempt(stage: Stage, key: str, outcome: str, answered_in: timedelta) -> Any:
    made = stage.package.Outcome(outcome)
    return stage.package.Attempt(id=key, outcome=made, address="10.0.0.7", answered_in=answered_in)


def test_accounts_at_work(stage: Stage) -> None:
    ada, open_session, code = account(stage), sign_in(stage), token(stage)
    failure = attempt(stage, "x1", "denied", timedelta(seconds=1))
    for record in (ada, open_session, code, failure):
        stage.create(record)
        stage.visit(record)
        stage.write_again(record)
        assert [secret for secret in SECRETS if secret in repr(record)] == []
    assert ada.updated_at > ada.created_at > NOON
    assert (open_session.client.name, code.code) == ("Browser", "lost-code")
    assert stage.sign_ins.by_account_closed("a1").group_counts() == {False: 1}
    for field in ("seen_at", "renewed_at"):
        touch = getattr(stage.sign_ins, f"touch_{field}")
        assert touch("s1", NOON - timedelta(days=1)) is True
        assert getattr(stage.sign_ins.get("s1"), field) == NOON
        assert touch("s1") is True
        assert getattr(stage.sign_ins.get("s1"), field) > NOON
        assert touch("nobody") is False
    with pytest.raises(ValidationError):
        stage.sign_ins.touch_seen_at("s1", NOON.replace(tzinfo=None))
    stage.remove(stage.sign_ins.get("s1"), stage.one_time_tokens.get("t1"))
    stage.create(sign_in(stage), token(stage))
    stage.remove(ada)
    assert [stage.sign_ins.find("s1"), stage.one_time_tokens.find("t1")] == [None, None]
    stage.remove(failure)
    stage.finish()


def test_an_error_about_a_secret_does_not_show_it(stage: Stage) -> None:
    stage.create(account(stage), token(stage), sign_in(stage))
    with pytest.raises(stage.package.CodeTakenError) as code:
        stage.one_time_tokens.create(token(stage, "t2"))
    with pytest.raises(UniqueViolationError) as digest:
        stage.sign_ins.create(sign_in(stage, "s2"))
    with pytest.raises(stage.package.NameTakenError):
        stage.accounts.create(account(stage, "a2", name="\tADA"))
    with pytest.raises(ValidationError) as pin:
        stage.accounts.create(account(stage, "a3", pin="4711-moon"))
    assert pin.value.field == "pin"
    for error in (code.value, digest.value, pin.value):
        assert [secret for secret in SECRETS if secret in f"{error!r} {vars(error)}"] == []
    assert stage.one_time_tokens.get_by_code(stage.package.Purpose.RESET, "lost-code").id == "t1"
    assert stage.sign_ins.get_by_digest(b"mars").id == "s1"
    assert stage.accounts.get_by_name("ada").id == "a1"


def test_the_slowest_answers_come_first(stage: Stage) -> None:
    for n, seconds in enumerate([0.5, 0, 2.25]):
        stage.attempts.create(attempt(stage, str(n), "granted", timedelta(seconds=seconds)))
    rows = stage.attempts.by_outcome(stage.package.Outcome.GRANTED).page().rows
    assert [row.id for row in rows] == ["2", "0", "1"]
    assert stage.attempts.by_outcome().group_counts() == {stage.package.Outcome.GRANTED: 3}


def deadline_of(record: Any) -> tuple[int, int]:
    """The deadline of a row, and how long after its last write it is; in microseconds."""
    stored = memory_of(record)
    assert stored is not None
    return stored.expires, stored.expires - stored.revision


def test_a_deadline_runs_from_the_write_that_closes_a_session(stage: Stage) -> None:
    stage.create(account(stage), sign_in(stage))
    assert deadline_of(stage.sign_ins.get("s1"))[0] == 0
    closed = stage.sign_ins.change("s1", lambda row: setattr(row, "closed", True))
    deadline, length = deadline_of(closed)
    assert timedelta(microseconds=length) == timedelta(hours=36)
    later = stage.sign_ins.change("s1", lambda row: setattr(row, "digest", b"other"))
    assert deadline_of(later)[0] == deadline
    assert stage.sign_ins.touch_seen_at("s1") is True
    assert deadline_of(stage.sign_ins.get("s1"))[0] == deadline
    opened = stage.sign_ins.change("s1", lambda row: setattr(row, "closed", False))
    assert deadline_of(opened)[0] == 0
    assert stage.package.PACKAGE.entities["SignIn"].retention.recommended == (
        5_400_000_000,
        2_592_000_000_000,
    )


def test_rows_that_ended_are_gone_from_everywhere(open_stage: Open) -> None:
    stage = open_stage(retention={"OneTimeToken": timedelta(microseconds=1)})
    stage.create(account(stage))
    stage.one_time_tokens.create(token(stage))
    assert stage.one_time_tokens.find("t1") is None
    assert stage.one_time_tokens.by_account("a1").page().rows == []
    assert stage.one_time_tokens.by_account("a1").count() == 0
    assert stage.one_time_tokens.find_by_code(stage.package.Purpose.RESET, "lost-code") is None
    with pytest.raises(stage.package.OneTimeTokenNotFoundError):
        stage.one_time_tokens.delete("t1")
    stage.one_time_tokens.create(token(stage, "t2"))
    assert stage.wait_for(stage.store.sweep()) == 1
    assert stage.check().documents == 1


def test_only_rows_with_a_retention_can_be_given_another(open_stage: Open) -> None:
    with pytest.raises(ConfigurationError, match="there are: OneTimeToken, SignIn"):
        open_stage(retention={"Account": timedelta(days=1)})
