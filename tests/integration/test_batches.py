"""Many inputs in one request: each is accepted or refused by itself, with one answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from obstore.exceptions import GenericError

from core.lanes import Tier
from core.settings import Settings
from core.store.accounts import Account
from core.store.blobs import Blobs
from core.store.session import Database
from service.client import Client
from tests.integration import work
from tests.integration.batched import FILES, PAPER, TALK, counts, nested, submit
from tests.integration.repeated import n_jobs, stored_files
from tests.integration.served import serving


def test_recordings_and_pdfs_are_accepted_at_once_and_take_the_lane_batch(api: TestClient, tmp_path: Path) -> None:
    items = [{**TALK, "language": "de", "metadata": {"id": 1}}, PAPER]
    answer = submit(api, items)

    batch = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (202, batch["status_url"])
    assert (batch["object"], batch["status"], batch["lane"]) == ("batch", "queued", "batch")
    assert counts(batch) == {"total": 2, "queued": 2}
    talk, paper = [api.get(item["status_url"]).json() for item in batch["items"]]
    assert (talk["kind"], talk["lane"], talk["options"]["language"]) == ("transcription", "batch", "de")
    assert (talk["metadata"], talk["batch_id"], talk["input"]["name"]) == ({"id": 1}, batch["id"], "talk.wav")
    assert (paper["kind"], paper["input"]["name"], paper["metadata"]) == ("document", "paper.pdf", {})
    assert {path.parent.name: path.read_bytes() for path in stored_files(tmp_path)} == {
        talk["id"]: b"RIFF",
        paper["id"]: b"%PDF",
    }


def test_the_status_url_answers_the_batch(api: TestClient) -> None:
    batch = submit(api).json()

    assert api.get(batch["status_url"]).json() == batch


def test_items_name_their_files_in_any_order_and_before_or_after_them(api: TestClient) -> None:
    named: tuple[str | None, str] = (None, json.dumps([TALK, PAPER]))
    parts = [("file", ("paper.pdf", "%PDF")), ("items", named), ("file", ("talk.wav", "RIFF"))]

    batch = api.post("/v1/batches", files=parts).json()

    assert [(item["index"], item["file"], item["status"]) for item in batch["items"]] == [
        (0, "talk.wav", "queued"),
        (1, "paper.pdf", "queued"),
    ]


def test_a_lane_may_be_asked_for_within_the_tier(api: TestClient, database: Database) -> None:
    assert submit(api, lane="express").json()["lane"] == "express"

    work.execute(database, "UPDATE accounts SET tier = 'free'")
    answer = submit(api, lane="express")

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("item", "file", "code", "says"),
    [
        ({**TALK, "model": "gpt"}, b"RIFF", "unknown_model", "fake"),
        ({**TALK, "language": "xx"}, b"RIFF", "invalid_request", "language"),
        ({**TALK, "task": "translate", "model": "tiny.en"}, b"RIFF", "invalid_request", "task"),
        ({**TALK, "colour\x00": "red"}, b"RIFF", "invalid_request", "colour"),
        ({**TALK, "colour\ud800": "red"}, b"RIFF", "invalid_request", "unicode"),
        ({**TALK, "lane": "express"}, b"RIFF", "invalid_request", "lane"),
        ({**TALK, "metadata": {"a": "\x00"}}, b"RIFF", "invalid_request", "metadata"),
        ({**TALK, "metadata": {"a": "x" * 17_000}}, b"RIFF", "invalid_request", "metadata"),
        ({**TALK, "metadata": {"a": nested(50)}}, b"RIFF", "invalid_request", "50 levels"),
        ({**TALK, "metadata": {"a": nested(300)}}, b"RIFF", "invalid_request", "50 levels"),
        ({**TALK, "metadata": {"a": nested(900)}}, b"RIFF", "invalid_request", "metadata"),
        ({**TALK, "kind": nested(900)}, b"RIFF", "invalid_request", "kind"),
        ({**TALK, **{f"{n}": 1 for n in range(29)}}, b"RIFF", "invalid_request", "30 keys"),
        ({**TALK, "x" * 10_000: 1}, b"RIFF", "invalid_request", "xxx"),
        ({"file": "talk.wav"}, b"RIFF", "invalid_request", "kind"),
        ({"file": "talk.wav", "kind": "\x00"}, b"RIFF", "invalid_request", "kind"),
        ({"file": "talk.wav", "kind": ["document"]}, b"RIFF", "invalid_request", "kind"),
        (TALK, b"", "empty_upload", "empty"),
        (TALK, b"x" * 1_000_001, "upload_too_large", "MiB"),
    ],
)
def test_an_item_that_cannot_be_accepted_refuses_no_other_and_leaves_no_file(
    api: TestClient, database: Database, tmp_path: Path, item: Mapping[str, Any], file: bytes, code: str, says: str
) -> None:
    answer = submit(api, [item, PAPER], {"talk.wav": file, "paper.pdf": b"%PDF"})

    batch = answer.json()
    assert answer.status_code == 202
    assert counts(batch) == {"total": 2, "refused": 1, "queued": 1}
    refused, accepted = batch["items"]
    assert (refused["index"], refused["file"], refused["status"]) == (0, "talk.wav", "refused")
    assert (refused["job_id"], refused["status_url"], refused["error"]["code"]) == (None, None, code)
    assert says in refused["error"]["message"]
    assert len(refused["error"]["message"]) <= 500
    assert (accepted["index"], accepted["error"]) == (1, None)
    assert [path.parent.name for path in stored_files(tmp_path)] == [accepted["job_id"]]
    assert n_jobs(database) == 1
    assert api.get(batch["status_url"]).json() == batch
    assert [job["id"] for job in api.get("/v1/jobs").json()["data"]] == [accepted["job_id"]]


@pytest.mark.parametrize("file", [None, "", "../", "other.wav", "\x07"])
def test_an_item_whose_file_is_not_there_is_refused(api: TestClient, file: str | None) -> None:
    batch = submit(api, [{"kind": "transcription", "file": file}, PAPER], {"paper.pdf": b"%PDF"}).json()

    assert counts(batch) == {"total": 2, "refused": 1, "queued": 1}
    assert batch["items"][0]["error"]["code"] == "invalid_request"


def test_a_refused_item_leaves_its_file_to_the_next_that_names_it(api: TestClient) -> None:
    batch = submit(api, [{**TALK, "model": "gpt"}, TALK], {"talk.wav": b"RIFF"}).json()

    assert [item["status"] for item in batch["items"]] == ["refused", "queued"]


def test_a_misspelt_name_refuses_its_item_alone(api: TestClient, tmp_path: Path) -> None:
    batch = submit(api, [{**TALK, "file": "tlak.wav"}, PAPER]).json()

    assert [item["status"] for item in batch["items"]] == ["refused", "queued"]
    assert [path.read_bytes() for path in stored_files(tmp_path)] == [b"%PDF"]


def test_letters_with_accents_are_one_however_they_are_encoded(api: TestClient) -> None:
    batch = submit(api, [{**TALK, "file": "caf\u00e9.wav"}], {"cafe\u0301.wav": b"RIFF"}).json()

    assert [(item["status"], item["file"]) for item in batch["items"]] == [("queued", "caf\u00e9.wav")]


def test_a_file_that_two_items_name_becomes_one_job(api: TestClient, database: Database) -> None:
    batch = submit(api, [TALK, {**TALK, "language": "de"}, PAPER]).json()

    assert [item["status"] for item in batch["items"]] == ["queued", "refused", "queued"]
    assert n_jobs(database) == 2


def test_the_client_may_send_files_whose_names_no_header_can_hold(settings: Settings, key: str, tmp_path: Path) -> None:
    names = ['say "cheese".wav', "50%22.wav", "two\nlines\r.wav", "back\\slash; x=1.wav", "Übung – 日本語.pdf"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())

    with serving(settings) as api, Client(api.url, key) as client:
        batch = client.submit_batch([(tmp_path / name, {}) for name in names])
        single = client.transcribe(tmp_path / names[0])

    assert [item["status"] for item in batch.items] == ["queued"] * len(names)
    shown = ['say "cheese".wav', '50".wav', "twolines.wav", "slash; x=1.wav", "Übung – 日本語.pdf"]
    assert [item["file"] for item in batch.items] == shown
    assert single.name == 'say "cheese".wav'


def test_a_batch_of_which_nothing_is_accepted_says_so(api: TestClient, database: Database, tmp_path: Path) -> None:
    batch = submit(api, [{**TALK, "model": "gpt"}, {**PAPER, "model": "gpt"}]).json()

    assert (batch["status"], counts(batch)) == ("failed", {"total": 2, "refused": 2})
    assert n_jobs(database) == len(stored_files(tmp_path)) == 0
    assert api.post(batch["urls"]["cancel"]).status_code == 409


@pytest.mark.parametrize(
    ("items", "files", "says"),
    [
        ("[", FILES, "items"),
        ("{}", FILES, "items"),
        ("[" * 100_000, FILES, "items"),
        ("[]", FILES, "items"),
        ("[1]", FILES, "items"),
        ("[" + "1," * 500_000 + "1]", FILES, "items.0"),
        ([TALK], FILES, "more files"),
        ([TALK], {}, "file"),
        ([TALK], [("talk.wav", b"1"), ("talk.wav", b"2")], "same name"),
        ([TALK], [("talk.wav", b"1"), ("a/talk.wav", b"2")], "same name"),
        ([{**TALK, "file": f"{n}.wav"} for n in range(101)], {"0.wav": b"1"}, "100"),
        ([TALK], [(f"{n}.wav", b"1") for n in range(101)], "100"),
        ([TALK], [("../", b"1")], "no name"),
    ],
)
def test_a_form_that_is_no_batch_is_refused_as_a_whole_and_leaves_nothing(
    api: TestClient, database: Database, tmp_path: Path, items: Any, files: Any, says: str
) -> None:
    answer = submit(api, items, files) if files else api.post("/v1/batches", files={"items": (None, "[]")})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert says in answer.json()["detail"]
    assert len(answer.content) < 1000
    assert n_jobs(database) == len(stored_files(tmp_path)) == 0
    assert work.execute(database, "SELECT 1 FROM batches") == []


def test_a_file_that_cannot_be_erased_neither_hides_the_refusal_nor_keeps_the_others(
    api: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase = Blobs.erase
    asked: list[str] = []

    def first_fails(blobs: Blobs, prefix: str) -> int:
        asked.append(prefix)
        if len(asked) == 1:
            raise GenericError("no")
        return erase(blobs, prefix)

    monkeypatch.setattr(Blobs, "erase", first_fails)
    answer = submit(api, "[]", {f"{n}.wav": b"RIFF" for n in range(5)})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [f"jobs/{path.parent.name}" for path in stored_files(tmp_path)] == asked[:1]
    assert len(asked) == 5


def test_a_batch_that_announces_more_than_all_its_files_may_hold_is_refused_as_a_whole(api: TestClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "200000000"}

    answer = api.post("/v1/batches", content=b"--b", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
    assert answer.json()["detail"].startswith("The upload is larger than the 99.4 MiB")


@pytest.mark.parametrize("options", [{"colour": "red"}, {"lane": "slow"}, {"language": "de"}])
def test_options_that_belong_to_an_item_are_refused_in_the_form(api: TestClient, options: dict[str, str]) -> None:
    assert submit(api, (TALK, PAPER), FILES, None, **options).status_code == 422


def test_a_hundred_files_with_their_metadata_are_accepted(api: TestClient, database: Database, tmp_path: Path) -> None:
    items = [{**TALK, "file": f"{n}.wav", "metadata": {"n": n, "text": "x" * 10_000}} for n in range(100)]

    batch = submit(api, items, {f"{n}.wav": str(n).encode() for n in range(100)}).json()

    assert counts(batch) == {"total": 100, "queued": 100}
    stored = {path.parent.name: path.read_bytes() for path in stored_files(tmp_path)}
    assert [stored[item["job_id"]] for item in batch["items"]] == [str(n).encode() for n in range(100)]
    admitted = work.execute(database, "SELECT count(*) AS n FROM jobs WHERE admitted_at IS NOT NULL")
    assert admitted[0].n == work.TIERS.plan(Tier.PRO).concurrent_jobs


def test_items_of_a_used_up_quota_are_refused_and_others_are_not(
    api: TestClient, database: Database, account: Account
) -> None:
    work.execute(
        database,
        """INSERT INTO usage_totals (account_id, period, unit, used)
           VALUES (:account, date_trunc('month', now() AT TIME ZONE 'UTC')::date, 'pages', 30000)""",
        account=account.id,
    )

    batch = submit(api).json()

    assert [item["status"] for item in batch["items"]] == ["queued", "refused"]
    assert batch["items"][1]["error"]["code"] == "quota_exceeded"


def test_the_openapi_document_shows_what_an_item_may_say(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    body = document["paths"]["/v1/batches"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]

    assert set(body["required"]) == {"file", "items"}
    assert body["properties"]["file"]["items"]["format"] == "binary"
    talk, paper = body["properties"]["items"]["items"]["anyOf"]
    assert {"kind", "file", "language", "metadata"} <= set(talk["properties"])
    assert (talk["properties"]["kind"]["const"], paper["properties"]["kind"]["const"]) == work.UPLOADED
    assert "lane" in body["properties"]
    assert "lane" not in talk["properties"]
