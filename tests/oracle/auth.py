"""Users and API keys on PostgreSQL."""

# ruff: noqa: A002 - the contract sets the names of arguments

from __future__ import annotations

from compozy_engine.errors import (
    AlreadyBootstrappedError,
    AlreadyExistsError,
    APIKeyNotFoundError,
    EmailExistsError,
    UserNotFoundError,
)
from compozy_store import APIKey, Role, User

from .rows import api_key_of, checked, user_of
from .session import Session

_INSERT_USER = """
    insert into users (id, email, role, created_at)
    values ($1, $2, $3, coalesce($4::timestamptz, clock_timestamp()))
    returning created_at
"""
_INSERT_KEY = """
    insert into api_keys (id, user_id, hash, fingerprint, prefix, last_used, created_at)
    values ($1, $2, $3, $4, $5, $6, coalesce($7::timestamptz, clock_timestamp()))
    returning created_at
"""
_TOUCH_KEY = """
    update api_keys set last_used = greatest(last_used, coalesce($2::timestamptz, clock_timestamp())) where id = $1
"""


class AuthRepository:
    """Users and API keys."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create_user(self, user: User) -> User:
        return await self._insert(self._session, user)

    async def get_user_by_id(self, id: str) -> User:
        return await self._user("select * from users where id = $1", id)

    async def get_user_by_email(self, email: str) -> User:
        return await self._user("select * from users where lower(email) = lower($1)", email)

    async def list_users(self) -> list[User]:
        return [
            user_of(row)
            for row in await self._session.rows("select * from users order by created_at desc, seq desc")
        ]

    async def update_user(self, user: User) -> User:
        await self.get_user_by_id(user.id)  # the contract does not say which of two refusals comes first
        own = checked(user)
        row = await self._session.row(
            "update users set email = $2, role = $3 where id = $1 returning created_at",
            own.id,
            own.email,
            own.role,
        )
        if row is None:
            raise UserNotFoundError("User: not found", entity="User", key=user.id)
        user.created_at = row["created_at"]
        return user

    async def delete_user(self, id: str) -> None:
        if not await self._session.run("delete from users where id = $1", id):
            raise UserNotFoundError("User: not found", entity="User", key=id)

    async def create_initial_admin_if_none(self, user: User) -> User:
        given, user.role = user.role, Role.ADMIN
        try:
            async with self._session.transaction() as session:
                await session.run("lock table users in share row exclusive mode")
                if await session.row("select 1 from users where role = 'admin' limit 1") is not None:
                    raise AlreadyBootstrappedError("an admin exists")
                return await self._insert(session, user)
        except BaseException as error:
            user.role = given
            if isinstance(error, AlreadyExistsError | EmailExistsError):
                raise AlreadyBootstrappedError("the id or email is taken") from error
            raise

    async def create_api_key(self, key: APIKey) -> APIKey:
        own = checked(key)
        row = await self._session.row(
            _INSERT_KEY,
            own.id,
            own.user_id,
            own.hash,
            own.fingerprint,
            own.prefix,
            own.last_used,
            self._session.now(),
        )
        assert row is not None
        key.created_at = row["created_at"]
        return key

    async def get_api_key_by_id(self, id: str) -> APIKey:
        return await self._key("select * from api_keys where id = $1", id)

    async def get_api_key_by_fingerprint(self, fingerprint: bytes) -> APIKey:
        return await self._key("select * from api_keys where fingerprint = $1", fingerprint)

    async def list_api_keys_by_user_id(self, user_id: str) -> list[APIKey]:
        rows = await self._session.rows(
            "select * from api_keys where user_id = $1 order by created_at desc, seq desc", user_id
        )
        return [api_key_of(row) for row in rows]

    async def update_api_key_last_used(self, id: str) -> None:
        await self._session.run(_TOUCH_KEY, id, self._session.now())

    async def delete_api_key(self, id: str) -> None:
        await self._session.run("delete from api_keys where id = $1", id)

    async def _insert(self, session: Session, user: User) -> User:
        own = checked(user)
        row = await session.row(_INSERT_USER, own.id, own.email, own.role, session.now())
        assert row is not None
        user.created_at = row["created_at"]
        return user

    async def _user(self, statement: str, key: str) -> User:
        row = await self._session.row(statement, key)
        if row is None:
            raise UserNotFoundError("User: not found", entity="User", key=key)
        return user_of(row)

    async def _key(self, statement: str, key: str | bytes) -> APIKey:
        row = await self._session.row(statement, key)
        if row is None:
            raise APIKeyNotFoundError("APIKey: not found", entity="APIKey")
        return api_key_of(row)
