"""Cases of `engine.auth`."""

from __future__ import annotations

from typing import Any, Final

from compozy_engine.errors import NotFoundError
from compozy_store import Role
from tools.bench.case import Case, Turn, reads
from tools.bench.data import api_key, user
from tools.bench.sides import Side


def _someone(turn: Turn) -> str:
    return f"user-{turn.pick(turn.data.size.users)}"


def _guest(turn: Turn) -> str:
    return f"guest-{turn.scratch}"


async def _without_guest(side: Side, turn: Turn) -> None:
    try:
        await side.engine.auth.delete_user(_guest(turn))
    except NotFoundError:
        pass


async def _with_guest(side: Side, turn: Turn, keys: int) -> None:
    await _without_guest(side, turn)
    await side.engine.auth.create_user(user(_guest(turn)))
    for number in range(keys):
        await side.engine.auth.create_api_key(api_key(_guest(turn), number))


async def _new_user(side: Side, turn: Turn) -> tuple[Any, ...]:
    await _without_guest(side, turn)
    return (user(_guest(turn)),)


async def _changed_user(side: Side, turn: Turn) -> tuple[Any, ...]:
    await _with_guest(side, turn, 0)
    changed = user(_guest(turn))
    changed.email = f"new-{changed.email}"
    return (changed,)


async def _user_to_delete(side: Side, turn: Turn) -> tuple[Any, ...]:
    await _with_guest(side, turn, 3)
    return (_guest(turn),)


async def _first_admin(side: Side, turn: Turn) -> tuple[Any, ...]:
    try:
        await side.engine.auth.delete_user("admin")
    except NotFoundError:
        pass
    return (user("admin", Role.ADMIN),)


async def _new_key(side: Side, turn: Turn) -> tuple[Any, ...]:
    await _with_guest(side, turn, 0)
    return (api_key(_guest(turn), 0),)


async def _present_key(side: Side, turn: Turn) -> tuple[Any, ...]:
    await _with_guest(side, turn, 1)
    return (api_key(_guest(turn), 0).id,)


async def _foreign_key(side: Side, turn: Turn) -> tuple[Any, ...]:
    (key,) = await _present_key(side, turn)
    side.rows.estrange("APIKey", key)
    return (key,)


async def _guest_and_keys(engine: Any, turn: Turn) -> Any:
    keys = await engine.auth.list_api_keys_by_user_id(_guest(turn))
    try:
        return await engine.auth.get_user_by_id(_guest(turn)), keys
    except NotFoundError:
        return None, keys


async def _admin(engine: Any, turn: Turn) -> Any:
    return await engine.auth.get_user_by_id("admin")


AUTH: Final = (
    Case(method="auth.create_user", prepare=_new_user, observe=_guest_and_keys, writes=True),
    reads("auth.get_user_by_id", lambda turn: (_someone(turn),)),
    reads("auth.get_user_by_email", lambda turn: (f"{_someone(turn)}@EXAMPLE.org",)),
    reads("auth.list_users", lambda turn: ()),
    Case(method="auth.update_user", prepare=_changed_user, observe=_guest_and_keys, writes=True),
    Case(
        method="auth.delete_user",
        label="with 3 keys",
        prepare=_user_to_delete,
        observe=_guest_and_keys,
        writes=True,
    ),
    Case(
        method="auth.create_initial_admin_if_none",
        prepare=_first_admin,
        observe=_admin,
        writes=True,
        alone=True,
    ),
    Case(method="auth.create_api_key", prepare=_new_key, observe=_guest_and_keys, writes=True),
    reads("auth.get_api_key_by_id", lambda turn: (api_key(_someone(turn), 1).id,)),
    reads("auth.get_api_key_by_fingerprint", lambda turn: (api_key(_someone(turn), 2).fingerprint,)),
    reads("auth.list_api_keys_by_user_id", lambda turn: (_someone(turn),), "3 keys"),
    Case(method="auth.update_api_key_last_used", prepare=_present_key, observe=_guest_and_keys, writes=True),
    Case(method="auth.delete_api_key", prepare=_present_key, observe=_guest_and_keys, writes=True),
    Case(
        method="auth.delete_api_key",
        label="written elsewhere",
        prepare=_foreign_key,
        observe=_guest_and_keys,
        writes=True,
    ),
)
