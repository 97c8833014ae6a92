"""Errors as RFC 9457 problem documents; the one place where an error of ours meets an HTTP status."""

from __future__ import annotations

import http
import math
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from obstore.exceptions import BaseError as BlobError
from pydantic import BaseModel
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from core import errors
from core.errors import RequestError
from service.rates import headers_of

log = structlog.get_logger(__name__)

_STATUS: Mapping[type[RequestError], int] = {
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.UploadTooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.InvalidRequest: 422,
    errors.RateLimited: 429,
    errors.QuotaExceeded: 429,
    errors.Unavailable: 503,
}
_RETRY_AFTER_S = "5"  # of a 503 that does not say itself when to come back
_SHOWN_FINDINGS = 5
_MAX_EXPLAINED = 500  # characters: names of fields are the client's, and as long as it likes
_MEDIA_TYPE = "application/problem+json"
_CONTENT: Mapping[str, Any] = {_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


class Problem(BaseModel):
    """An RFC 9457 problem document. `code` is stable; `detail` is for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer for an error."""
    content = Problem(title=http.HTTPStatus(status).phrase, status=status, detail=detail, code=code)
    sent = dict(headers or {})
    if status == 401:
        sent["WWW-Authenticate"] = "Bearer"
    if status == 503:
        sent.setdefault("Retry-After", _RETRY_AFTER_S)
    return JSONResponse(content.model_dump(), status, sent, media_type=_MEDIA_TYPE)


def responses(*wanted: type[RequestError]) -> dict[int | str, dict[str, Any]]:
    """For a route's OpenAPI entry: the errors that it answers with, besides a bad key and too many requests.

    Not by FastAPI's `model`, which would describe them as `application/json`; `install` adds the schema.
    """
    kinds: tuple[type[RequestError], ...] = (errors.Unauthorized, errors.RateLimited, *wanted)
    return {_status_of(kind): {"description": kind(None).message, "content": dict(_CONTENT)} for kind in kinds}


def _status_of(kind: type[RequestError]) -> int:
    return next(status for known, status in _STATUS.items() if issubclass(kind, known))


def install(app: FastAPI) -> None:
    """Make every error that leaves a route a problem document."""
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    for away in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(away, _database_is_away)
    app.add_exception_handler(BlobError, _media_store_is_away)
    app.add_exception_handler(ClientDisconnect, _nobody_listens)
    app.add_exception_handler(Exception, _internal_error)
    plain = app.openapi
    setattr(app, "openapi", lambda: _described(plain()))  # noqa: B010  FastAPI's own way to extend the document


def _described(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the problem's schema, and with it where FastAPI puts its own for a wrong request."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for operation in (one for path in document["paths"].values() for one in path.values()):
        answer = operation["responses"].get("422")
        if answer and "application/json" in answer["content"]:
            answer.update(description=errors.InvalidRequest(None).message, content=dict(_CONTENT))
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _request_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    wait_s = error.retry_after_s
    headers = {} if wait_s is None else {"Retry-After": str(math.ceil(wait_s))}
    return problem(_status_of(type(error)), error.code, error.message, headers)


def _validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return problem(422, "invalid_request", explain(error.errors()))


def explain(found: Sequence[Any]) -> str:
    """The first of pydantic's findings, each with its field, without echoing what was sent; at most 500 characters."""
    shown = [
        f"{'.'.join(str(part) for part in one['loc'] if part != 'body') or 'body'}: {one['msg']}"
        for one in found[:_SHOWN_FINDINGS]
    ]
    text = "; ".join(shown)
    return text if len(text) <= _MAX_EXPLAINED else f"{text[: _MAX_EXPLAINED - 1]}…"


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # FastAPI's, for a body that cannot be decoded; what else is no JSON it calls a 422
        return problem(422, "invalid_request", "The body is not JSON.")
    codes = {404: "not_found", 405: "method_not_allowed", 413: "upload_too_large", 415: "unsupported_media_type"}
    return problem(error.status_code, codes.get(error.status_code, "invalid_request"), str(error.detail), error.headers)


def _database_is_away(_: Request, error: Exception) -> JSONResponse:
    log.warning("the database does not answer", error=str(error).split("\n")[0])
    return problem(503, "unavailable", "The database does not answer; try again shortly.")


def _media_store_is_away(_: Request, error: Exception) -> JSONResponse:
    log.error("the media store failed", error=str(error).split("\n")[0])
    return problem(503, "unavailable", "The media store cannot be used, perhaps for want of space; try again later.")


def _nobody_listens(request: Request, _: Exception) -> JSONResponse:
    log.info("the client hung up", path=request.url.path)
    return problem(400, "invalid_request", "The request broke off.")


def _internal_error(request: Request, error: Exception) -> JSONResponse:
    log.error("a request failed", exc_info=error)
    detail = "The service failed on this request; the operator's log says why."
    return problem(500, "internal", detail, headers_of(request.scope))  # which no middleware adds to this one
