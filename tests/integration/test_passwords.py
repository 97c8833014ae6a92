"""The password of a PDF is there for whoever opens the file, shown to nobody, and forgotten once it was used."""

from __future__ import annotations

from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.errors import PdfEncrypted
from core.job import JobKind, JobStatus
from core.options import DocumentOptions
from core.store import completion, interventions
from core.store.session import Database
from tests.integration import work

PASSWORD = "open sesame"


@pytest.fixture
def submitted(api: TestClient) -> UUID:
    answer = api.post("/v1/documents", data={"password": PASSWORD}, files={"file": ("a.pdf", b"%PDF-1.7")})
    assert answer.status_code == 202
    assert PASSWORD not in answer.text
    return UUID(answer.json()["id"])


def stored(database: Database) -> str:
    """All that the rows of jobs hold."""
    return "".join(row.held for row in work.execute(database, "SELECT j::text AS held FROM jobs j"))


def test_no_answer_shows_it(api: TestClient, submitted: UUID) -> None:
    one, listed = api.get(f"/v1/jobs/{submitted}"), api.get("/v1/jobs")

    assert one.json()["options"] == {"model": None, "ocr": "auto"}
    assert PASSWORD not in one.text + listed.text


def test_what_is_refused_is_not_echoed(api: TestClient) -> None:
    answer = api.post("/v1/documents", data={"password": "so secret" * 100}, files={"file": ("a.pdf", b"%PDF-1.7")})

    assert answer.status_code == 422
    assert "so secret" not in answer.text


def test_whoever_opens_the_file_is_told_it_until_it_was_read(database: Database, submitted: UUID) -> None:
    claim = work.claim_one(database, submitted)
    assert isinstance(claim.options, DocumentOptions)
    assert claim.options.password is not None
    assert claim.options.password.get_secret_value() == PASSWORD
    assert PASSWORD not in repr(claim)
    assert PASSWORD in stored(database)

    work.complete(database, claim, work.prepared(1, JobKind.DOCUMENT))

    assert PASSWORD not in stored(database)


def test_a_job_that_failed_forgets_it(database: Database, submitted: UUID) -> None:
    claim = work.claim_one(database, submitted)
    with database.transaction() as connection:
        assert completion.fail(connection, claim, PdfEncrypted(), max_failures=3)

    assert PASSWORD not in stored(database)


def test_a_job_that_is_cancelled_forgets_it(database: Database, submitted: UUID) -> None:
    with database.transaction() as connection:
        account_id = work.job(database, submitted).account_id
        interventions.cancel(connection, submitted, account_id)

    assert work.job(database, submitted).status is JobStatus.CANCELLED
    assert PASSWORD not in stored(database)
