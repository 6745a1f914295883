"""Users and API keys."""

# ruff: noqa: A001 - records have a field named id

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from compozy_engine import Engine
from compozy_engine.errors import (
    AlreadyBootstrappedError,
    AlreadyExistsError,
    APIKeyExistsError,
    APIKeyNotFoundError,
    ConflictError,
    EmailExistsError,
    NotFoundError,
    ReferenceViolationError,
    UniqueViolationError,
    UserNotFoundError,
    ValidationError,
)
from compozy_store import Role
from tests.contract.stories import contract, ids, key, outcomes, user


@contract
async def test_a_user_is_found_by_id_and_by_email_in_any_case(engine: Engine) -> None:
    made = await engine.auth.create_user(user("u", "Ada.Ä@Example.org"))
    assert made.created_at is not None
    for found in (
        await engine.auth.get_user_by_id("u"),
        await engine.auth.get_user_by_email("ada.ä@EXAMPLE.org"),
    ):
        assert found == made
        assert found.email == "Ada.Ä@Example.org"
    for missing in (engine.auth.get_user_by_id("v"), engine.auth.get_user_by_email("v@x")):
        with pytest.raises(UserNotFoundError):
            await missing


@contract
async def test_ids_and_emails_are_unique(engine: Engine) -> None:
    await engine.auth.create_user(user("u", "u@x"))
    with pytest.raises(AlreadyExistsError):
        await engine.auth.create_user(user("u", "other@x"))
    with pytest.raises(EmailExistsError):
        await engine.auth.create_user(user("v", "U@X"))
    with pytest.raises(AlreadyExistsError):
        await engine.auth.create_user(user("u", "u@x"))
    assert ids(await engine.auth.list_users()) == ["u"]
    with pytest.raises(UserNotFoundError):
        await engine.auth.get_user_by_email("other@x")


@contract
async def test_users_are_listed_newest_first(engine: Engine) -> None:
    assert await engine.auth.list_users() == []
    for id in ("b", "a", "c"):
        await engine.auth.create_user(user(id))
    await engine.auth.update_user(user("b", "moved@x"))
    assert ids(await engine.auth.list_users()) == ["c", "a", "b"]


@contract
async def test_an_update_frees_the_old_email_and_claims_the_new_one(engine: Engine) -> None:
    first = await engine.auth.create_user(user("u", "u@x"))
    await engine.auth.create_user(user("v", "v@x"))
    with pytest.raises(EmailExistsError):
        await engine.auth.update_user(user("v", "U@x", Role.ADMIN))
    assert (await engine.auth.get_user_by_id("v")).role is Role.USER
    changed = user("u", "moved@x", Role.ADMIN)
    changed.created_at = datetime(2001, 1, 1, tzinfo=UTC)
    await engine.auth.update_user(changed)
    assert changed.created_at == first.created_at
    assert await engine.auth.get_user_by_id("u") == changed
    await engine.auth.update_user(user("v", "u@X"))
    assert (await engine.auth.get_user_by_email("u@x")).id == "v"
    await engine.auth.update_user(user("v", "U@X"))
    assert (await engine.auth.get_user_by_email("u@x")).email == "U@X"
    with pytest.raises(UserNotFoundError):
        await engine.auth.update_user(user("nobody", "u@x"))


@contract
async def test_deleting_a_user_deletes_the_api_keys(engine: Engine) -> None:
    for id in ("u", "v"):
        await engine.auth.create_user(user(id))
    for id, owner in (("k", "u"), ("l", "u"), ("m", "v")):
        await engine.auth.create_api_key(key(id, owner))
    await engine.auth.delete_user("u")
    for lookup in (
        engine.auth.get_api_key_by_id("k"),
        engine.auth.get_api_key_by_fingerprint(b"k"),
        engine.auth.get_api_key_by_fingerprint(b"l"),
    ):
        with pytest.raises(APIKeyNotFoundError):
            await lookup
    assert await engine.auth.list_api_keys_by_user_id("u") == []
    assert ids(await engine.auth.list_api_keys_by_user_id("v")) == ["m"]
    with pytest.raises(UserNotFoundError):
        await engine.auth.delete_user("u")
    await engine.auth.create_user(user("u", "U@X"))
    await engine.auth.create_api_key(key("n", "u", fingerprint=b"k", prefix="k"))


@contract
async def test_the_first_admin_is_created_once(engine: Engine) -> None:
    await engine.auth.create_user(user("plain"))
    for taken in (user("plain", "new@x"), user("new", "PLAIN@x")):
        with pytest.raises(AlreadyBootstrappedError):
            await engine.auth.create_initial_admin_if_none(taken)
        assert taken.role is Role.USER
    first = await engine.auth.create_initial_admin_if_none(user("u"))
    assert first.role is Role.ADMIN
    assert (await engine.auth.get_user_by_id("u")).role is Role.ADMIN
    with pytest.raises(AlreadyBootstrappedError):
        await engine.auth.create_initial_admin_if_none(user("v"))
    assert ids(await engine.auth.list_users()) == ["u", "plain"]


@contract
async def test_a_deleted_admin_can_be_replaced(engine: Engine) -> None:
    await engine.auth.create_initial_admin_if_none(user("u"))
    await engine.auth.update_user(user("u", role=Role.USER))
    await engine.auth.create_initial_admin_if_none(user("v"))
    await engine.auth.delete_user("v")
    await engine.auth.create_initial_admin_if_none(user("w"))
    assert [each.role for each in await engine.auth.list_users()] == [Role.ADMIN, Role.USER]


@contract
async def test_one_of_fifty_becomes_the_first_admin(engine: Engine) -> None:
    candidates = [user(f"u{number}") for number in range(50)]
    results = await outcomes([engine.auth.create_initial_admin_if_none(each) for each in candidates])
    assert sorted(set(results)) == ["AlreadyBootstrappedError", "ok"]
    assert results.count("ok") == 1
    assert ids(await engine.auth.list_users()) == [f"u{results.index('ok')}"]
    assert [each.role for each in candidates].count(Role.ADMIN) == 1


@contract
async def test_one_of_many_gets_an_email(engine: Engine) -> None:
    candidates = [user(f"u{number}", "One@x") for number in range(10)]
    results = await outcomes([engine.auth.create_user(each) for each in candidates])
    assert (results.count("ok"), results.count("EmailExistsError")) == (1, 9)
    assert (await engine.auth.get_user_by_email("one@x")).id == f"u{results.index('ok')}"


@contract
async def test_an_api_key_is_found_by_id_and_by_fingerprint(engine: Engine) -> None:
    await engine.auth.create_user(user("u"))
    raw = bytes(range(256))
    made = await engine.auth.create_api_key(key("k", fingerprint=raw, hash=raw[::-1]))
    assert made.created_at is not None
    assert made.last_used is None
    assert await engine.auth.get_api_key_by_id("k") == made
    assert await engine.auth.get_api_key_by_fingerprint(raw) == made
    with pytest.raises(APIKeyNotFoundError):
        await engine.auth.get_api_key_by_fingerprint(raw[1:])
    assert "xff" not in repr(made)


@contract
async def test_api_keys_are_unique_and_belong_to_a_user(engine: Engine) -> None:
    await engine.auth.create_user(user("u"))
    await engine.auth.create_api_key(key("k"))
    with pytest.raises(ReferenceViolationError):
        await engine.auth.create_api_key(key("l", "nobody"))
    for taken in ({"fingerprint": b"k"}, {"prefix": "k"}):
        with pytest.raises(APIKeyExistsError):
            await engine.auth.create_api_key(key("l", **taken))
    with pytest.raises(AlreadyExistsError):
        await engine.auth.create_api_key(key("k", fingerprint=b"other", prefix="other"))
    assert ids(await engine.auth.list_api_keys_by_user_id("u")) == ["k"]


@contract
async def test_api_keys_are_listed_newest_first(engine: Engine) -> None:
    await engine.auth.create_user(user("u"))
    for id in ("b", "a", "c"):
        await engine.auth.create_api_key(key(id))
    await engine.auth.update_api_key_last_used("b")
    assert ids(await engine.auth.list_api_keys_by_user_id("u")) == ["c", "a", "b"]
    assert await engine.auth.list_api_keys_by_user_id("nobody") == []


@contract
async def test_last_used_never_decreases(engine: Engine) -> None:
    await engine.auth.create_user(user("u"))
    future = datetime.now(UTC).replace(microsecond=123456) + timedelta(days=1)
    for id, last_used in (("k", None), ("l", future)):
        made = await engine.auth.create_api_key(key(id, last_used=last_used))
        await engine.auth.update_api_key_last_used(id)
        after = await engine.auth.get_api_key_by_id(id)
        assert after.last_used is not None
        assert (after.hash, after.created_at) == (made.hash, made.created_at)
    assert after.last_used == future
    first = (await engine.auth.get_api_key_by_id("k")).last_used
    assert first is not None
    await engine.auth.update_api_key_last_used("k")
    later = (await engine.auth.get_api_key_by_id("k")).last_used
    assert later is not None
    assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)
    assert later >= first
    assert await engine.auth.update_api_key_last_used("nobody") is None  # type: ignore[func-returns-value]


@contract
async def test_a_deleted_api_key_is_gone_for_every_lookup(engine: Engine) -> None:
    await engine.auth.create_user(user("u"))
    await engine.auth.create_api_key(key("k"))
    await engine.auth.delete_api_key("k")
    await engine.auth.delete_api_key("k")
    for lookup in (engine.auth.get_api_key_by_id("k"), engine.auth.get_api_key_by_fingerprint(b"k")):
        with pytest.raises(APIKeyNotFoundError):
            await lookup
    assert await engine.auth.list_api_keys_by_user_id("u") == []
    await engine.auth.create_api_key(key("l", fingerprint=b"k", prefix="k"))


@contract
async def test_users_that_break_a_field_are_refused(engine: Engine) -> None:
    broken = [user(""), user("u", ""), user("u")]
    broken[2].role = "boss"  # type: ignore[assignment]
    for each in broken:
        with pytest.raises(ValidationError):
            await engine.auth.create_user(each)
        with pytest.raises(ValidationError):
            await engine.auth.create_initial_admin_if_none(user("") if each is broken[2] else each)
    assert await engine.auth.list_users() == []


def test_errors_have_general_parents() -> None:
    assert issubclass(UserNotFoundError, NotFoundError)
    assert issubclass(APIKeyNotFoundError, NotFoundError)
    assert issubclass(EmailExistsError, UniqueViolationError)
    assert issubclass(APIKeyExistsError, UniqueViolationError)
    assert issubclass(AlreadyBootstrappedError, ConflictError)
