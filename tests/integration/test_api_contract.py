"""Whatever fits the OpenAPI document, or just does not, is answered as the document says, and by no fault of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from core.settings import Settings
from core.store.accounts import Account
from core.store.session import Database
from service.app import create_app
from service.query_vector import QueryVector
from service.routes import search
from tests.conftest import write_tiers
from tests.integration import routed, work
from tests.integration.routed import PROTECTED

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def api(settings: Settings, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The API, with a vector for every search, and for as many calls as one likes."""
    monkeypatch.setattr(search, "query_vector", lambda *_: QueryVector(work.MODEL, work.VECTOR))
    unhurried = write_tiers(tmp_path / "unhurried.toml", requests_per_minute=1_000_000)
    app = create_app(settings.model_copy(update={"tiers_file": unhurried}))
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_every_call_is_answered_as_documented(
    api: TestClient, database: Database, account: Account, method: str, path: str, mode: schemathesis.GenerationMode
) -> None:
    document = schemathesis.openapi.from_asgi("/openapi.json", api.app)
    there = routed.belongings(api, database, account)

    @given(case=document[path][method].as_strategy(generation_mode=mode))
    @examples(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def answered(case: schemathesis.Case[Any]) -> None:
        if mode is schemathesis.GenerationMode.POSITIVE:
            case.path_parameters.update((name, there[name]) for name in case.path_parameters)
        case.call_and_validate(headers=dict(api.headers), checks=CHECKS)

    answered()
