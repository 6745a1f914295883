"""The caller of a request: bearer tokens, of which the store has only digests.

A token is `shop_<id>_<secret>`. The id finds the row. The secret has 256 random bits, so a plain SHA-256 of it cannot be
reversed by guessing; a password would need a slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shop_api.store import Shop
from web_shop import Customer, Role, Token

BEARER: Final = HTTPBearer(auto_error=False, description="A token of POST /tokens.")

_TOKEN: Final = re.compile(r"shop_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NO_DIGEST: Final = bytes(32)


def new_token(customer_id: str, *, label: str = "", days: int = 90) -> tuple[str, Token]:
    """Return a new token, which is shown once, and its row.

    Args:
        customer_id: for whom it acts.
        label: what it is for.
        days: how long it holds.
    """
    key, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    row = Token(
        id=key,
        customer_id=customer_id,
        digest=_digest(secret),
        label=label,
        ends_at=datetime.now(UTC) + timedelta(days=days),
    )
    return f"shop_{key}_{secret}", row


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


async def customer_of(
    store: Shop, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> Customer:
    """Return the customer for whom the request's token acts.

    Raises:
        HTTPException: 401, with the same text whatever is wrong with the token.
    """
    match = _TOKEN.fullmatch(credentials.credentials) if credentials else None
    if match is not None:
        key, secret = match.groups()
        token = await store.tokens.find(key)
        known = token.digest if token is not None else _NO_DIGEST
        if hmac.compare_digest(_digest(secret), known) and token is not None:
            customer = await store.customers.find(token.customer_id)
            if customer is not None:
                return customer
    raise HTTPException(401, "A valid token is necessary", headers={"WWW-Authenticate": "Bearer"})


Caller = Annotated[Customer, Depends(customer_of)]


async def require_staff(caller: Caller) -> None:
    """Refuse a caller that is no member of the staff.

    Raises:
        HTTPException: 403.
    """
    if caller.role is not Role.STAFF:
        raise HTTPException(403, "Only the staff may do this")


ONLY_STAFF: Final = (Depends(require_staff),)
"""The `dependencies` of endpoints for the staff."""
