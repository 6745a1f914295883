"""Users and their API keys."""

from __future__ import annotations

from compozy_store import APIKey, Role, User, aio

from .errors import AlreadyBootstrappedError, AlreadyExistsError, EmailExistsError, ViewNotEmptyError


class AuthRepository:
    """Users and API keys. Every method may raise `StoreUnavailableError`."""

    __slots__ = ("_keys", "_users")

    def __init__(self, store: aio.Store) -> None:
        self._users = store.users
        self._keys = store.api_keys

    async def create_user(self, user: User) -> User:
        """Insert a user.

        Raises:
            AlreadyExistsError: the id is taken.
            EmailExistsError: the email is taken (case-insensitive).
            ValidationError: a field breaks its type or limits.
        """
        return await self._users.create(user)

    async def get_user_by_id(self, id: str) -> User:
        """The user with this id.

        Raises:
            UserNotFoundError: there is no such user.
        """
        return await self._users.get(id)

    async def get_user_by_email(self, email: str) -> User:
        """The user with this email (case-insensitive).

        Raises:
            UserNotFoundError: there is no such user.
        """
        return await self._users.get_by_email(email)

    async def list_users(self) -> list[User]:
        """Every user, newest first."""
        return await self._users.all().list()

    async def update_user(self, user: User) -> User:
        """Replace email and role, and release the old email in the same step.

        Raises:
            UserNotFoundError: there is no such user.
            EmailExistsError: another user has the email.
            ValidationError: a field breaks its type or limits.
        """

        def replace(row: User) -> None:
            row.email, row.role = user.email, user.role

        written = await self._users.change(user.id, replace)
        user.created_at = written.created_at
        return written

    async def delete_user(self, id: str) -> None:
        """Delete a user and all of its API keys.

        Raises:
            UserNotFoundError: there is no such user.
        """
        await self._users.delete(id)

    async def create_initial_admin_if_none(self, user: User) -> User:
        """Insert the first admin if no admin exists, in one atomic step. The role is set to admin.

        Raises:
            AlreadyBootstrappedError: an admin exists, or the id or email is taken.
            ValidationError: a field breaks its type or limits.
        """
        given, user.role = user.role, Role.ADMIN
        try:
            return await self._users.create(user, if_none="by_role")
        except BaseException as error:
            user.role = given
            if isinstance(error, ViewNotEmptyError | AlreadyExistsError | EmailExistsError):
                raise AlreadyBootstrappedError("an admin exists, or the id or email is taken") from error
            raise

    async def create_api_key(self, key: APIKey) -> APIKey:
        """Insert an API key.

        Raises:
            ReferenceViolationError: there is no such user.
            APIKeyExistsError: the prefix or fingerprint is taken.
            AlreadyExistsError: the id is taken.
            ValidationError: a field breaks its type or limits.
        """
        return await self._keys.create(key)

    async def get_api_key_by_id(self, id: str) -> APIKey:
        """The API key with this id.

        Raises:
            APIKeyNotFoundError: there is no such key.
        """
        return await self._keys.get(id)

    async def get_api_key_by_fingerprint(self, fingerprint: bytes) -> APIKey:
        """The API key with this fingerprint.

        Raises:
            APIKeyNotFoundError: there is no such key.
        """
        return await self._keys.get_by_fingerprint(fingerprint)

    async def list_api_keys_by_user_id(self, user_id: str) -> list[APIKey]:
        """The API keys of a user, newest first; empty for an unknown user."""
        return await self._keys.by_user(user_id).list()

    async def update_api_key_last_used(self, id: str) -> None:
        """Set `last_used` to the server's time; it never moves back. A missing key is not an error."""
        await self._keys.touch_last_used(id)

    async def delete_api_key(self, id: str) -> None:
        """Delete an API key. A missing key is not an error."""
        await self._keys.discard(id)
