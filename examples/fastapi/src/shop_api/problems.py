"""Errors as answers: problem details (RFC 9457), with one status for each kind of error, for every endpoint.

A client learns what is wrong with its request, and never which host or key the server meant.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from keyweave.errors import (
    AlreadyExistsError,
    ConflictError,
    DurabilityError,
    InvalidCursorError,
    KeyweaveError,
    LockTimeoutError,
    NotFoundError,
    OutcomeUnknownError,
    ReferenceViolationError,
    StoreUnavailableError,
    TransactionConflictError,
    UniqueViolationError,
    ValidationError,
)

logger = logging.getLogger("shop_api")

RETRY_AFTER: Final = 2
"""Seconds after which a client may ask again."""

MEDIA_TYPE: Final = "application/problem+json"


class Refusal(Exception):
    """A request that this application refuses.

    Args:
        status: of HTTP.
        code: names the reason, for programs.
        detail: names it for people.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class FieldProblem(BaseModel):
    """What is wrong with one value of a request."""

    field: str
    detail: str


class Problem(BaseModel):
    """Why a request was refused."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] = []


KINDS: Final[tuple[tuple[type[KeyweaveError], int, str, str], ...]] = (
    (NotFoundError, 404, "not-found", "There is no such row."),
    (AlreadyExistsError, 409, "exists", "A row with this key exists."),
    (UniqueViolationError, 409, "taken", "Another row has this value."),
    (ReferenceViolationError, 409, "referenced", "The row refers to a missing row, or is referred to."),
    (TransactionConflictError, 503, "busy", "Too many others write the same rows. Repeat the request."),
    (ConflictError, 409, "conflict", "The row has changed. Read it again."),
    (LockTimeoutError, 503, "busy", "Too many others write the same rows. Repeat the request."),
    (InvalidCursorError, 422, "cursor", "The cursor does not belong to this list."),
    (ValidationError, 422, "invalid", "A value is not valid."),
    (
        OutcomeUnknownError,
        503,
        "outcome-unknown",
        "The request may or may not have been carried out. Repeat it with the same Idempotency-Key.",
    ),
    (
        DurabilityError,
        503,
        "unconfirmed",
        "The request was carried out and is not yet safe. Repeat it with the same Idempotency-Key.",
    ),
    (StoreUnavailableError, 503, "unavailable", "Nothing was changed. Repeat the request."),
)
"""Errors of the store -> status, code and text. The first kind that fits decides, so subclasses come first."""

_TITLES: Final = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    422: "Unprocessable Content",
    503: "Service Unavailable",
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that an endpoint may answer, for OpenAPI."""
    return {status: {"model": Problem, "description": _TITLES[status]} for status in statuses}


class Application(FastAPI):
    """An application whose description gives problems their media type."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        for path in document["paths"].values():
            for operation in path.values():
                for status, response in operation["responses"].items():
                    if status >= "400" and "application/json" in response["content"]:
                        response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
        return document


def answer(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """Return a problem as a response."""
    headers = dict(headers or {})
    if problem.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return Response(problem.model_dump_json(), problem.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make the application answer errors as problems."""
    app.add_exception_handler(KeyweaveError, of_store)
    app.add_exception_handler(Refusal, of_application)
    app.add_exception_handler(RequestValidationError, of_request)
    app.add_exception_handler(HTTPException, of_http)


async def of_store(request: Request, error: Exception) -> Response:
    """Answer an error of the store."""
    found = next((each for each in KINDS if isinstance(error, each[0])), None)
    if found is None:
        raise error  # the application's mistake, or the operator's: 500, with a traceback in the log
    _, status, code, detail = found
    if status == 503:
        # As literals: no path or key of a client can begin a line of the log.
        logger.warning("%s %r: %r", request.method, request.url.path, error)
    errors = []
    if isinstance(error, ValidationError) and error.field:
        errors = [FieldProblem(field=error.field, detail=error.rule)]
    return answer(Problem(title=_TITLES[status], status=status, code=code, detail=detail, errors=errors))


async def of_application(_: Request, error: Exception) -> Response:
    """Answer a refusal of the application."""
    assert isinstance(error, Refusal)
    return answer(
        Problem(title=_TITLES[error.status], status=error.status, code=error.code, detail=str(error))
    )


async def of_request(_: Request, error: Exception) -> Response:
    """Answer a request that does not have the declared form. What it contained is not repeated."""
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldProblem(field=".".join(str(part) for part in each["loc"]), detail=each["msg"])
        for each in error.errors()
    ]
    problem = Problem(
        title=_TITLES[422], status=422, code="invalid", detail="A value is not valid.", errors=errors
    )
    return answer(problem)


async def of_http(_: Request, error: Exception) -> Response:
    """Answer what the framework refuses, such as an unknown path or a missing token."""
    assert isinstance(error, HTTPException)
    problem = Problem(title=error.detail, status=error.status_code, code="http", detail=error.detail)
    return answer(problem, dict(error.headers or {}))
