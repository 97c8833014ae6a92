"""Every error leaves the API as a problem document with a stable code and without anything private."""

from __future__ import annotations

import inspect

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from obstore.exceptions import BaseError as BlobError
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core import errors
from core.errors import RequestError
from service import problems
from service.forms import SearchIn

REFUSALS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, RequestError)]
EXPECTED = {
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "idempotency_in_flight": 409,
    "upload_too_large": 413,
    "unsupported_media_type": 415,
    "rate_limited": 429,
    "invalid_request": 422,
    "unknown_model": 422,
    "url_not_allowed": 422,
    "rerank_not_configured": 422,
    "empty_upload": 422,
    "idempotency_mismatch": 422,
    "quota_exceeded": 429,
    "unavailable": 503,
    "search_unavailable": 503,
}


class Body(BaseModel):
    number: int


def answering(error: Exception) -> TestClient:
    """An API whose one route fails in this way."""
    app = FastAPI()
    problems.install(app)

    @app.get("/fails")
    def fails() -> None:
        raise error

    @app.post("/takes")
    def takes(body: Body) -> int:
        return body.number

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("kind", [kind for kind in REFUSALS if kind is not RequestError])
def test_every_refusal_has_its_status_and_its_code(kind: type[RequestError]) -> None:
    answer = answering(kind("Because.")).get("/fails")

    assert answer.status_code == EXPECTED[kind.code]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": answer.json()["title"],
        "status": answer.status_code,
        "detail": "Because.",
        "code": kind.code,
    }


def test_a_missing_key_is_asked_for() -> None:
    assert answering(errors.Unauthorized()).get("/fails").headers["WWW-Authenticate"] == "Bearer"


def test_a_refusal_that_passes_says_in_whole_seconds_when_it_has_passed() -> None:
    answer = answering(errors.QuotaExceeded(retry_after_s=86399.2)).get("/fails")

    assert answer.headers["Retry-After"] == "86400"
    assert "Retry-After" not in answering(errors.QuotaExceeded()).get("/fails").headers


def test_an_absent_part_says_when_to_try_again() -> None:
    assert int(answering(errors.Unavailable()).get("/fails").headers["Retry-After"]) > 0


@pytest.mark.parametrize("kind", [errors.RateLimited, errors.Unavailable, errors.Conflict])
def test_an_error_that_knows_when_to_try_again_says_it_in_whole_seconds(kind: type[RequestError]) -> None:
    assert answering(kind(retry_after_s=16.2)).get("/fails").headers["Retry-After"] == "17"


def test_an_error_that_time_does_not_help_names_none() -> None:
    assert "Retry-After" not in answering(errors.Conflict()).get("/fails").headers


@pytest.mark.parametrize(
    "error",
    [OperationalError("SELECT secret", {}, Exception("no connection")), PoolTimeout("busy"), BlobError("disk full")],
)
def test_a_store_that_is_away_is_a_503_without_details(error: Exception) -> None:
    answer = answering(error).get("/fails")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "secret" not in answer.text


def test_a_fault_of_ours_is_a_500_without_details() -> None:
    answer = answering(KeyError("password=hunter2")).get("/fails")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "hunter2" not in answer.text


def test_a_path_that_is_not_there_is_a_problem_too() -> None:
    answer = answering(KeyError()).get("/nowhere")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_method_that_is_not_there_is_a_problem_too() -> None:
    answer = answering(KeyError()).delete("/fails")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET"


def test_a_body_of_the_wrong_form_names_the_field_without_echoing_it() -> None:
    answer = answering(KeyError()).post("/takes", json={"number": "my secret"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "number" in answer.json()["detail"]
    assert "my secret" not in answer.text


def test_of_many_findings_the_first_are_told_and_of_a_long_one_the_beginning() -> None:
    findings = [{"loc": ("body", f"field{n}"), "msg": "No."} for n in range(100_000)]

    assert problems.explain(findings) == "; ".join(f"field{n}: No." for n in range(5))
    assert problems.explain([{"loc": ("x" * 10_000,), "msg": "No."}]) == "x" * 499 + "…"


def test_a_long_list_of_wrong_ids_is_one_finding() -> None:
    with pytest.raises(ValidationError) as caught:
        SearchIn.model_validate({"query": "tides", "job_ids": ["x"] * 100_000})

    assert caught.value.error_count() == 1


def test_a_body_that_is_no_json_is_refused() -> None:
    answer = answering(KeyError()).post("/takes", content=b"{", headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_route_lists_the_errors_that_it_answers_with() -> None:
    listed = problems.responses(errors.NotFound, errors.SearchUnavailable)

    assert set(listed) == {401, 404, 429, 503}


def test_the_openapi_document_describes_every_refusal_as_a_problem_document(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    refusals = {
        f"{path} {status}": list(answer["content"].items())
        for path, operations in document["paths"].items()
        if path != "/readyz"  # its 503 says what is missing, in its own form
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if status >= "400"
    }
    as_problem = ("application/problem+json", {"schema": {"$ref": "#/components/schemas/Problem"}})

    assert len(refusals) > 10
    assert {where: content for where, content in refusals.items() if content != [as_problem]} == {}
    assert set(document["components"]["schemas"]["Problem"]["properties"]) >= {"title", "status", "detail", "code"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
