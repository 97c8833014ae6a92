"""Whatever fits the OpenAPI document, or just does not, is answered as the document says, and by no fault of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
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

from core.lanes import Tier
from core.settings import Settings
from core.store import accounts
from core.store.accounts import Account
from core.store.search import QueryVector
from core.store.session import Database
from service import searching
from service.app import create_app
from tests.conftest import Servers, fresh_database, write_tiers
from tests.integration import routed, work
from tests.integration.routed import PROTECTED

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@dataclass(frozen=True)
class Described:
    """The API as it runs, and as it describes itself."""

    client: TestClient
    document: schemathesis.BaseSchema
    database: Database
    account: Account


@pytest.fixture(scope="module")
def api(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    """With a vector for every search, and for as many calls as one likes."""
    folder = tmp_path_factory.mktemp("contract")
    tiers_file = write_tiers(folder / "tiers.toml", upload_max_bytes=1_000_000, requests_per_minute=1_000_000)
    with fresh_database(servers) as url, closing(Database(url)) as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "query_vector", lambda *_: QueryVector(work.MODEL, work.VECTOR))
        blob_url = (folder / "blobs").as_uri()
        app = create_app(
            Settings(database_url=url, broker_url=servers.broker_url, blob_url=blob_url, tiers_file=tiers_file)
        )
        with database.transaction() as connection:
            account = accounts.create(connection, "ada", Tier.PRO)
            key = accounts.issue_key(connection, account.id)
        with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
            yield Described(client, schemathesis.openapi.from_asgi("/openapi.json", app), database, account)


@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_every_call_is_answered_as_documented(
    api: Described, method: str, path: str, mode: schemathesis.GenerationMode
) -> None:
    there = routed.belongings(api.client, api.database, api.account)

    @given(case=api.document[path][method].as_strategy(generation_mode=mode))
    @examples(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def answered(case: schemathesis.Case[Any]) -> None:
        if mode is schemathesis.GenerationMode.POSITIVE:
            case.path_parameters.update((name, there[name]) for name in case.path_parameters)
        case.call_and_validate(headers=dict(api.client.headers), checks=CHECKS)

    answered()
