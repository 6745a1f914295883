"""Health, for the supervisor of the process: alive while it answers, ready while the store can be used."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from keyweave.errors import StoreUnavailableError
from shop_api.problems import answers
from shop_api.store import Shop

router = APIRouter(prefix="/health", tags=["health"])


class Status(BaseModel):
    """Whether the process, or its store, works."""

    status: Literal["ok"] = "ok"


@router.get("/live")
async def live() -> Status:
    """Answer. The store is not asked: a process is not better after a restart because the store is away."""
    return Status()


@router.get("/ready", responses=answers(503))
async def ready(store: Shop) -> Status:
    """Ask the store, once and without retries; 503 if it cannot serve."""
    if not (await store.health()).serving:
        raise StoreUnavailableError("the server of the store does not serve")
    return Status()
