"""Passages leave as JSON, JSON Lines and Parquet: all of them, as they are stored, and without holding anything up."""

from __future__ import annotations

import io
import json
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from core.errors import NotFound
from core.job import JobKind
from core.store import accounts
from core.store.accounts import Account
from core.store.session import Database
from service import passage_files
from service.passage_files import PASSAGE_FILES, Export
from tests.integration import work

FILES = ("jsonl", "parquet")


@pytest.fixture
def document(database: Database, account: Account) -> UUID:
    """A PDF of one passage, with its place in the text."""
    job_id = work.submit(database, account, JobKind.DOCUMENT)
    work.finish(database, job_id)
    named = "page_label = 'iii', section = 'Tides', char_start = 0, char_end = 7"
    work.execute(database, f"UPDATE passages SET {named}")
    return job_id


def many(database: Database, account: Account, n: int) -> UUID:
    """A finished PDF of so many passages, each with a vector of 384 numbers."""
    job_id = work.submit(database, account, JobKind.DOCUMENT)
    work.finish(database, job_id)
    work.execute(database, "DELETE FROM passages")
    work.execute(
        database,
        """
        INSERT INTO passages (job_id, account_id, chunk_ordinal, ordinal, text, page_from, page_to)
        SELECT :job, :account, n / 64, n % 64, 'Passage ' || n, n + 1, n + 1 FROM generate_series(0, :n - 1) n
        """,
        job=job_id,
        account=account.id,
        n=n,
    )
    work.execute(database, "DELETE FROM vectors")
    work.execute(database, "DELETE FROM embedding_models")  # which holds what this model's vectors are long
    work.execute(
        database,
        """
        INSERT INTO vectors (passage_id, model, account_id, vector)
        SELECT id, 'fake', :account, array_fill((id % 97 / 97.0)::real, ARRAY[384])::vector FROM passages
        """,
        account=account.id,
    )
    return job_id


def test_json_has_the_place_of_a_passage_where_it_is_known(api: TestClient, document: UUID) -> None:
    (passage,) = api.get(f"/v1/jobs/{document}/passages").json()["data"]

    places = {name: passage[name] for name in ("page_label", "char_start", "char_end", "section")}
    assert places == {"page_label": "iii", "char_start": 0, "char_end": 7, "section": "Tides"}
    assert "speaker" not in passage


@pytest.mark.parametrize("form", FILES)
def test_a_file_says_what_it_is_and_has_a_name(api: TestClient, document: UUID, form: str) -> None:
    answer = api.get(f"/v1/jobs/{document}/passages?format={form}")

    assert answer.headers["Content-Type"].split(";")[0] == PASSAGE_FILES[form].media_type
    assert answer.headers["Content-Disposition"] == f'attachment; filename="passages-{document}.{form}"'


@pytest.mark.parametrize("vectors", ["true", "false"])
def test_a_line_is_a_passage_as_json_has_it(
    api: TestClient, database: Database, account: Account, monkeypatch: pytest.MonkeyPatch, vectors: str
) -> None:
    monkeypatch.setattr(passage_files, "PAGE", 40)
    url = f"/v1/jobs/{many(database, account, 130)}/passages?vectors={vectors}"

    lines = [json.loads(line) for line in api.get(f"{url}&format=jsonl").text.splitlines()]

    assert lines == api.get(url).json()["data"]
    assert ("vector" in lines[0]) is (vectors == "true")


def test_parquet_holds_every_passage_in_order_with_the_stored_float32(
    api: TestClient, database: Database, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passage_files, "PAGE", 40)
    job_id = many(database, account, 130)

    table = pq.read_table(io.BytesIO(api.get(f"/v1/jobs/{job_id}/passages?vectors=true&format=parquet").content))

    stored = work.execute(
        database, "SELECT id, text, vector::real[] AS v FROM passages JOIN vectors ON id = passage_id ORDER BY id"
    )
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[384]"
    assert table["ordinal"].to_pylist() == list(range(130))
    assert set(table["job_id"].to_pylist()) == {str(job_id)}
    assert (table["id"].to_pylist(), table["text"].to_pylist()) == ([r.id for r in stored], [r.text for r in stored])
    read = np.array(table["vector"].to_pylist(), np.float32)
    np.testing.assert_array_equal(read, np.array([row.v for row in stored], np.float32))


def test_without_vectors_parquet_has_no_such_column(api: TestClient, document: UUID) -> None:
    table = pq.read_table(io.BytesIO(api.get(f"/v1/jobs/{document}/passages?format=parquet").content))

    assert "vector" not in table.column_names
    assert (table["page_label"].to_pylist(), table["section"].to_pylist()) == (["iii"], ["Tides"])


def test_a_job_without_passages_gives_a_file_without_rows(
    api: TestClient, database: Database, account: Account
) -> None:
    url = f"/v1/jobs/{work.submit(database, account)}/passages?vectors=true&format="

    assert api.get(f"{url}jsonl").content == b""
    assert pq.read_table(io.BytesIO(api.get(f"{url}parquet").content)).num_rows == 0


@pytest.mark.parametrize("form", ["json", *FILES])
def test_vectors_of_a_second_model_make_no_second_row(
    api: TestClient, database: Database, document: UUID, form: str
) -> None:
    work.execute(database, "INSERT INTO vectors SELECT passage_id, 'bge-m3', account_id, '[1,2]' FROM vectors")
    url = f"/v1/jobs/{document}/passages?vectors=true&format={form}"

    for query, vector in (("", work.VECTOR), ("&model=bge-m3", [1.0, 2.0])):
        content = api.get(url + query).content
        if form == "parquet":
            rows = pq.read_table(io.BytesIO(content)).to_pylist()
        else:
            rows = json.loads(content)["data"] if form == "json" else [json.loads(content)]
        assert [row["vector"] for row in rows] == [vector]


@pytest.mark.parametrize(
    "query",
    ["format=csv", "vectors=true&model=gpt", "format=jsonl&cursor=WzEsIDFd", "format=parquet&limit=10", "limit=0"],
)
def test_an_unknown_format_or_model_or_a_page_of_a_file_is_a_422(api: TestClient, document: UUID, query: str) -> None:
    answer = api.get(f"/v1/jobs/{document}/passages?{query}")

    assert (answer.status_code, answer.json()["code"]) == (
        422,
        "unknown_model" if "gpt" in query else "invalid_request",
    )


@pytest.mark.parametrize("what", ["passages", "transcript", *(f"passages?format={form}" for form in FILES)])
def test_head_says_what_get_would_send_and_sends_nothing(
    api: TestClient, database: Database, account: Account, what: str
) -> None:
    job_id = work.submit(database, account)
    work.finish(database, job_id)

    whole, head = api.get(f"/v1/jobs/{job_id}/{what}"), api.head(f"/v1/jobs/{job_id}/{what}")

    assert (whole.status_code, head.status_code, head.content) == (200, 200, b"")
    for name in ("Content-Type", "Content-Disposition", "Content-Length"):
        assert head.headers.get(name) == whole.headers.get(name)


@pytest.mark.parametrize("what", ["passages", "transcript", *(f"passages?format={form}" for form in FILES)])
def test_head_is_refused_where_get_is(api: TestClient, database: Database, document: UUID, what: str) -> None:
    stranger = work.open_account(database, "grace")
    with database.transaction() as connection:
        strangers = {"Authorization": f"Bearer {accounts.issue_key(connection, stranger.id)}"}
    url = f"/v1/jobs/{document}/{what}"

    assert api.head(url, headers=strangers).status_code == 404
    assert api.head(url, headers={"Authorization": "Bearer sl_wrong"}).status_code == 401


def test_head_of_a_file_reads_none_of_its_passages(
    api: TestClient, document: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Export, "pages", lambda _: pytest.fail("the passages were read"))

    assert api.head(f"/v1/jobs/{document}/passages?format=jsonl").status_code == 200


@pytest.mark.parametrize("form", FILES)
def test_a_reader_that_stops_midway_holds_no_transaction(
    database: Database, account: Account, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(passage_files, "PAGE", 40)
    export = Export(database, many(database, account, 130), account.id, "fake", 384)
    pieces = PASSAGE_FILES[form].write(export)
    next(pieces)

    busy = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    assert not work.execute(database, busy)
    work.execute(database, "DELETE FROM jobs")
    with pytest.raises(NotFound):  # an answer that breaks off is not taken for a whole one
        list(pieces)
