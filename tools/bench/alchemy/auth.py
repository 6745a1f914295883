"""Users and API keys by SQLAlchemy."""

# ruff: noqa: A002 - the contract names its arguments

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from compozy_engine.errors import AlreadyBootstrappedError, APIKeyNotFoundError, UserNotFoundError
from compozy_store import APIKey, Role, User
from keyweave.model.record import NOT_WRITTEN

from .tables import KeyRow, UserRow

Sessions: TypeAlias = async_sessionmaker[AsyncSession]


class AuthRepository:
    """Users and API keys."""

    def __init__(self, single: Sessions, several: Sessions) -> None:
        self._single = single
        self._several = several

    async def create_user(self, user: User) -> User:
        async with self._single() as session:
            return await _insert(session, user)

    async def get_user_by_id(self, id: str) -> User:
        return await self._user(UserRow.id == id)

    async def get_user_by_email(self, email: str) -> User:
        return await self._user(func.lower(UserRow.email) == func.lower(email))

    async def list_users(self) -> list[User]:
        async with self._single() as session:
            rows = await session.scalars(
                select(UserRow).order_by(UserRow.created_at.desc(), UserRow.seq.desc())
            )
            return [row.record() for row in rows]

    async def update_user(self, user: User) -> User:
        change = (
            update(UserRow)
            .where(UserRow.id == user.id)
            .values(email=user.email, role=user.role.value)
            .returning(UserRow.created_at)
        )
        async with self._single() as session:
            created = await session.scalar(change)
        if created is None:
            raise UserNotFoundError("User: not found", entity="User", key=user.id)
        user.created_at = created
        return user

    async def delete_user(self, id: str) -> None:
        async with self._single() as session:
            done = await session.scalar(delete(UserRow).where(UserRow.id == id).returning(UserRow.id))
        if done is None:
            raise UserNotFoundError("User: not found", entity="User", key=id)

    async def create_initial_admin_if_none(self, user: User) -> User:
        user.role = Role.ADMIN
        async with self._several.begin() as session:
            await session.execute(text("lock table users in share row exclusive mode"))
            if await session.scalar(select(UserRow.id).where(UserRow.role == "admin").limit(1)) is not None:
                raise AlreadyBootstrappedError("an admin exists")
            return await _insert(session, user)

    async def create_api_key(self, key: APIKey) -> APIKey:
        values: dict[str, Any] = {name: getattr(key, name) for name in APIKey.__struct_fields__}
        del values["created_at"]
        async with self._single() as session:
            key.created_at = (
                await session.scalar(insert(KeyRow).values(values).returning(KeyRow.created_at))
                or NOT_WRITTEN
            )
        return key

    async def get_api_key_by_id(self, id: str) -> APIKey:
        return await self._key(KeyRow.id == id)

    async def get_api_key_by_fingerprint(self, fingerprint: bytes) -> APIKey:
        return await self._key(KeyRow.fingerprint == fingerprint)

    async def list_api_keys_by_user_id(self, user_id: str) -> list[APIKey]:
        wanted = select(KeyRow).where(KeyRow.user_id == user_id)
        async with self._single() as session:
            rows = await session.scalars(wanted.order_by(KeyRow.created_at.desc(), KeyRow.seq.desc()))
            return [row.record() for row in rows]

    async def update_api_key_last_used(self, id: str) -> None:
        now = func.greatest(KeyRow.last_used, func.clock_timestamp())
        async with self._single() as session:
            await session.execute(
                update(KeyRow)
                .where(KeyRow.id == id)
                .values(last_used=now)
                .execution_options(synchronize_session=False)
            )

    async def delete_api_key(self, id: str) -> None:
        async with self._single() as session:
            await session.execute(delete(KeyRow).where(KeyRow.id == id))

    async def _user(self, condition: ColumnElement[bool]) -> User:
        async with self._single() as session:
            row = await session.scalar(select(UserRow).where(condition))
        if row is None:
            raise UserNotFoundError("User: not found", entity="User")
        return row.record()

    async def _key(self, condition: ColumnElement[bool]) -> APIKey:
        async with self._single() as session:
            row = await session.scalar(select(KeyRow).where(condition))
        if row is None:
            raise APIKeyNotFoundError("APIKey: not found", entity="APIKey")
        return row.record()


async def _insert(session: AsyncSession, user: User) -> User:
    values = {"id": user.id, "email": user.email, "role": user.role.value}
    user.created_at = (
        await session.scalar(insert(UserRow).values(values).returning(UserRow.created_at)) or NOT_WRITTEN
    )
    return user
