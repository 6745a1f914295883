"""Products: every client reads them, the staff writes them. Records are the bodies and the responses."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from shop_api.auth import ONLY_STAFF
from shop_api.pages import LINK, Listing, Paged
from shop_api.problems import answers
from shop_api.store import Shop
from web_shop import Product

router = APIRouter(prefix="/products", tags=["products"])

Price = Annotated[Decimal, Field(ge=0, max_digits=9, decimal_places=2)]


class ProductChange(BaseModel, extra="forbid"):
    """The fields of a product that a request changes; the others stay. No default is shown: a field is given or left out."""

    title: Annotated[str, Field(min_length=1, max_length=200, default_factory=str)]
    price: Annotated[Price, Field(default_factory=Decimal)]
    stock: Annotated[int, Field(ge=0, default_factory=int)]


@router.get("", responses={200: {"headers": LINK}, **answers(422, 503)})
async def list_products(
    store: Shop,
    paging: Paged,
    low: Annotated[Price | None, Query(description="The lowest price.")] = None,
    high: Annotated[Price | None, Query(description="The highest price.")] = None,
) -> Listing[Product]:
    """List products, the lowest price first."""
    return await paging.page(store.products.by_price().between(low, high), low=low, high=high)


@router.get("/{sku}", responses=answers(404, 422, 503))
async def get_product(sku: str, store: Shop) -> Product:
    """Return a product."""
    return await store.products.get(sku)


@router.post("", status_code=201, dependencies=ONLY_STAFF, responses=answers(401, 403, 409, 422, 503))
async def add_product(product: Product, store: Shop, response: Response) -> Product:
    """Add a product."""
    created = await store.products.create(product)
    response.headers["Location"] = f"/products/{created.sku}"
    return created


@router.patch("/{sku}", dependencies=ONLY_STAFF, responses=answers(401, 403, 404, 422, 503))
async def change_product(sku: str, change: ProductChange, store: Shop) -> Product:
    """Set fields of a product. Those that the request does not name keep what others write at the same time."""
    return await store.products.update(sku, **change.model_dump(exclude_unset=True))


@router.delete("/{sku}", status_code=204, dependencies=ONLY_STAFF, responses=answers(401, 403, 404, 422, 503))
async def remove_product(sku: str, store: Shop) -> None:
    """Remove a product. Orders keep what they have of it."""
    await store.products.delete(sku)
