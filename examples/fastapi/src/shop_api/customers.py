"""Customers, and the tokens by which programs act for them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from shop_api.auth import ONLY_STAFF, Caller, new_token
from shop_api.pages import LINK, Listing, Paged
from shop_api.problems import answers
from shop_api.store import Shop
from web_shop import Customer, Token, TokenNotFoundError

router = APIRouter(tags=["customers"])


class TokenRequest(BaseModel, extra="forbid"):
    """What a new token is for, and how many days it holds."""

    label: Annotated[str, Field(max_length=100)] = ""
    days: Annotated[int, Field(ge=1, le=365)] = 90


class TokenInfo(BaseModel):
    """A token without its secret. The record is no response: encoding it would show the digest."""

    id: str
    label: str
    created_at: datetime
    ends_at: datetime

    @classmethod
    def of(cls, token: Token) -> TokenInfo:
        """Return what may be shown of a token."""
        return cls(id=token.id, label=token.label, created_at=token.created_at, ends_at=token.ends_at)


class NewToken(TokenInfo):
    """A new token. It is shown this once."""

    token: str


@router.post(
    "/customers", status_code=201, dependencies=ONLY_STAFF, responses=answers(401, 403, 409, 422, 503)
)
async def add_customer(customer: Customer, store: Shop) -> Customer:
    """Add a customer. An address is taken in any case of its letters."""
    return await store.customers.create(customer)


@router.get("/me", responses=answers(401, 503))
async def me(caller: Caller) -> Customer:
    """Return the customer for whom the token acts."""
    return caller


@router.get("/tokens", responses={200: {"headers": LINK}, **answers(401, 422, 503)})
async def list_tokens(store: Shop, paging: Paged, caller: Caller) -> Listing[TokenInfo]:
    """List the caller's tokens, newest first."""
    page = await paging.page(store.tokens.by_customer(caller.id))
    return Listing(items=[TokenInfo.of(token) for token in page.items], next=page.next)


@router.post("/tokens", status_code=201, responses=answers(401, 409, 422, 503))
async def add_token(wanted: TokenRequest, store: Shop, caller: Caller, response: Response) -> NewToken:
    """Make a token for the caller."""
    response.headers["Cache-Control"] = "no-store"
    token, row = new_token(caller.id, label=wanted.label, days=wanted.days)
    created = await store.tokens.create(row)
    return NewToken(**TokenInfo.of(created).model_dump(), token=token)


@router.delete("/tokens/{token_id}", status_code=204, responses=answers(401, 404, 422, 503))
async def remove_token(token_id: str, store: Shop, caller: Caller) -> None:
    """Revoke a token of the caller's: the next request with it is refused."""
    token = await store.tokens.get(token_id)
    if token.customer_id != caller.id:
        raise TokenNotFoundError("another customer's", entity="Token")
    await store.tokens.discard(token_id)
