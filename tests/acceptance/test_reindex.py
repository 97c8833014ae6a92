"""On a real service: what was embedded with another model is found after a reindex, and old vectors go."""

from __future__ import annotations

from service.client import Client
from tests.acceptance.conftest import ROOT, Service

MODEL = "all-MiniLM-L6-v2"
QUESTION = "Why does the tide come later every day?"


def found(client: Client, job_id: str) -> bool:
    return job_id in {hit.job_id for hit in client.search(QUESTION, limit=100, mode="semantic")}


def test_a_document_of_another_model_is_found_after_a_reindex_and_what_searches_cannot_be_dropped(
    service: Service,
) -> None:
    client = service.client()
    document = client.wait(client.embed(ROOT / "examples" / "tides.pdf", {"model": "fake"}).id)
    before = found(client, document.id)
    reindexed = service.run("reindex", "--model", MODEL)
    after = found(client, document.id)
    refused = service.run("reindex", "--drop", MODEL)
    dropped = service.run("reindex", "--drop", "fake")

    assert (before, after) == (False, True)
    assert (reindexed.returncode, refused.returncode, dropped.returncode) == (0, 1, 0), reindexed.stderr
    job = client.job(reindexed.stdout.strip())
    assert (job.kind, job.status, job.percent) == ("reindex", "completed", 100)
    assert f"Searches are answered with {MODEL}" in refused.stderr
    assert "vectors of fake deleted" in dropped.stderr
    with service.http() as http:
        passages = http.get(f"/v1/jobs/{document.id}/passages", params={"vectors": "true"}).json()["data"]
    assert {passage["model"] for passage in passages} == {MODEL}


def test_the_command_wants_one_thing_at_a_time(service: Service) -> None:
    neither, both = service.run("reindex"), service.run("reindex", "--model", MODEL, "--drop", "fake")

    assert [(one.returncode, "either --model or --drop" in one.stderr) for one in (neither, both)] == [(2, True)] * 2
