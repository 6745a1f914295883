"""Records as bodies and responses of FastAPI, and inside pydantic models."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError

from compozy_store import APIKey, Component, Role, Status, TaskState, UsageEntry, User
from tests.bank import bank

NOW = datetime(2026, 11, 28, 10, 0, tzinfo=UTC)


def task(**more: Any) -> TaskState:
    return TaskState(
        task_exec_id="t",
        task_id="t",
        workflow_exec_id="w",
        workflow_id="W",
        component=Component.TASK,
        status=Status.RUNNING,
        **more,
    )


def test_a_dict_has_every_field_with_its_value() -> None:
    record = task(
        usage=[UsageEntry(provider="p", model="m", captured_at=NOW)], output={"a": [1, {"b": None}]}
    )
    plain = record.to_dict()
    assert list(plain) == list(TaskState.__struct_fields__)
    assert plain["status"] is Status.RUNNING
    assert plain["usage"] == [{**UsageEntry(provider="p", model="m").to_dict(), "captured_at": NOW}]
    assert plain["output"] == {"a": [1, {"b": None}]} and plain["output"] is not record.output
    as_json = record.to_dict(mode="json")
    assert list(as_json) == list(plain)
    assert as_json["status"] == "RUNNING" and type(as_json["status"]) is str
    assert as_json["usage"][0]["captured_at"] == "2026-11-28T10:00:00Z"
    key = APIKey(id="k", user_id="u", hash=b"\xff", fingerprint=b"f", prefix="p")
    assert (key.to_dict()["hash"], key.to_dict(mode="json")["hash"]) == (b"\xff", "/w==")
    assert "\\xff" not in repr(key)
    account = bank().Account(number="1", labels={"a": "b"}, lines=[bank().Line(text="x")])
    assert account.to_dict()["labels"] == {"a": "b"}
    assert account.to_dict()["lines"] == [{"text": "x", "amount": 0}]


class Team(BaseModel):
    """A model with records inside."""

    lead: User
    members: list[User] = []
    usage: UsageEntry | None = None


def test_inside_a_pydantic_model() -> None:
    team = Team.model_validate(
        {"lead": {"id": "u", "email": "e", "role": "admin"}, "usage": {"provider": "p", "model": "m"}}
    )
    assert team.lead == User(id="u", email="e", role=Role.ADMIN)
    team.members.append(team.lead)
    again = Team.model_validate_json(team.model_dump_json())
    assert again == team
    assert team.model_dump()["lead"]["role"] is Role.ADMIN
    assert team.model_dump(mode="json")["members"][0]["role"] == "admin"
    assert Team.model_validate(team.model_dump()) == team
    row = User(id="u", email="e", role=Role.USER)
    assert Team(lead=row).lead is row
    assert TypeAdapter(list[User]).validate_python([row]) == [row]


@pytest.mark.parametrize(
    ("lead", "text"),
    [
        ({"id": "u", "email": "e", "role": "boss"}, "not one of the enum's values"),
        ({"id": "u", "email": 1, "role": "admin"}, "Expected `str`, got `int`"),
        ({"id": "", "email": "e", "role": "admin"}, "Expected `str` of length >= 1"),
        ({"email": "e", "role": "admin"}, "Object missing required field `id`"),
        ("u", "Expected an object or a User"),
    ],
)
def test_what_does_not_fit_is_pydantics_error(lead: Any, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Team.model_validate({"lead": lead})
    (error,) = caught.value.errors()
    assert error["loc"] == ("lead",)
    assert error["msg"] == text


APP = FastAPI()


@APP.post("/users")
def add(user: User) -> User:
    """Return the body."""
    assert type(user) is User
    return user


@APP.get("/plain", response_model=None)
def plain() -> Any:
    """Return a record without a response model."""
    return task(usage=[UsageEntry(provider="p", model="m")])


@APP.post("/tasks", response_model=list[TaskState])
def tasks(team: Team) -> Any:
    """Return records in a list."""
    return [task(usage=[team.usage] if team.usage else None, output={"lead": team.lead.id})]


def asked(method: str, path: str, **more: Any) -> httpx.Response:
    """The answer of the application."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=APP)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **more)

    return asyncio.run(ask())


def test_a_body_and_a_response_of_fastapi() -> None:
    answer = asked("POST", "/users", json={"id": "u", "email": "e", "role": "admin"})
    assert answer.status_code == 200
    assert answer.json() == {"id": "u", "email": "e", "role": "admin", "created_at": None}
    refused = asked("POST", "/users", json={"id": "u", "email": "e", "role": 7})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"][0] == "body"
    body = {"lead": {"id": "u", "email": "e", "role": "user"}, "usage": {"provider": "p", "model": "m"}}
    (row,) = asked("POST", "/tasks", json=body).json()
    assert (row["status"], row["output"], row["usage"][0]["model"]) == ("RUNNING", {"lead": "u"}, "m")


def test_a_record_without_a_response_model_is_encoded_with_every_field() -> None:
    answer = asked("GET", "/plain").json()
    assert answer == task(usage=[UsageEntry(provider="p", model="m")]).to_dict(mode="json")
    assert [field.name for field in dataclasses.fields(APIKey) if not field.repr] == ["hash", "fingerprint"]


def test_openapi_describes_the_records() -> None:
    described = asked("GET", "/openapi.json").json()
    schemas = described["components"]["schemas"]
    user = schemas["User"]
    assert user["required"] == ["id", "email", "role"]
    assert user["properties"]["id"] == {"type": "string", "minLength": 1}
    assert user["properties"]["role"]["enum"] == ["admin", "user"]
    assert described["paths"]["/users"]["post"]["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/User"
    }
    assert schemas["Team"]["properties"]["lead"] == {"$ref": "#/components/schemas/User"}
    usage = schemas["TaskState"]["properties"]["usage"]["anyOf"][0]["items"]
    assert usage["properties"]["prompt_tokens"] == {"type": "integer", "minimum": 0, "default": 0}


def test_pydantic_is_imported_by_nothing_but_itself() -> None:
    code = "import sys, compozy_store.sync; assert not [name for name in sys.modules if 'pydantic' in name and 'keyweave' not in name]"
    subprocess.run([sys.executable, "-c", code], check=True)
