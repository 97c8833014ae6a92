"""`scribelane batch` submits files together, follows them, and says of each one how it ended."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service import client as client_module
from service import forms, patience
from service.cli import app
from service.client import Client, ClientError
from tests.unit.service.answering import BROKEN_OFF, Answer, Asked, as_json, problem, refused, serving

TALK = {"index": 0, "file": "talk.wav", "status": "completed", "job_id": "7", "error": None}
PAPER = {"index": 1, "file": "paper.pdf", "status": "refused", "job_id": None, "error": {"code": "x", "message": "No."}}
BATCH_ID = "01a213f2-cda7-7712-be7b-1b9625f830c3"


def as_batch(status: str = "completed", *items: dict[str, Any]) -> Answer:
    counts = {
        "total": len(items),
        **{one: sum(item["status"] == one for item in items) for one in ("queued", "completed")},
    }
    return as_json({"id": BATCH_ID, "status": status, "request_counts": counts, "items": items})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(patience, "POLL_S", 0.01)
    for name in ("talk.wav", "paper.pdf"):
        (tmp_path / name).write_bytes(name.encode())
    return [tmp_path / "talk.wav", tmp_path / "paper.pdf"]


def run(url: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in (*arguments, "--url", url, "--key", "k")])


def sent_items(asked: Asked) -> str:
    found = re.search(rb'name="items"\r\n\r\n(.*?)\r\n--', asked.bodies[0])
    assert found is not None
    return found[1].decode()


def test_files_are_sent_together_each_with_its_kind_and_the_batch_is_followed(files: list[Path]) -> None:
    waiting = {**TALK, "status": "queued"}
    with serving(as_batch("queued", waiting), as_batch("processing", waiting), as_batch("completed", TALK)) as (
        url,
        asked,
    ):
        printed = run(url, "batch", *files, "--language", "de", "--lane", "standard")

    assert asked.lines == ["POST /v1/batches", *[f"GET /v1/batches/{BATCH_ID}"] * 2]
    assert sent_items(asked) == (
        '[{"kind": "transcription", "language": "de", "file": "talk.wav"}, {"kind": "document", "file": "paper.pdf"}]'
    )
    assert all(part in asked.bodies[0] for part in (b"standard", b'filename="talk.wav"', b'filename="paper.pdf"'))
    assert printed.exit_code == 0
    assert printed.stdout.split() == ["7", "completed", "talk.wav"]
    assert "processing: 1 queued, of 1" in printed.stderr


def test_an_item_that_was_refused_is_shown_with_its_reason_and_fails_the_command(files: list[Path]) -> None:
    with serving(as_batch("completed", TALK, PAPER), as_batch("completed", TALK, PAPER)) as (url, _):
        printed = run(url, "batch", *files)

    assert printed.exit_code == 1
    assert printed.stdout.splitlines()[1].split() == ["-", "refused", "paper.pdf", "No.", "(x)"]


def test_a_batch_need_not_be_waited_for(files: list[Path]) -> None:
    with serving(as_batch("queued", {**TALK, "status": "queued"})) as (url, asked):
        printed = run(url, "batch", files[0], "--no-wait")

    assert (asked.lines, printed.exit_code) == (["POST /v1/batches"], 0)
    assert BATCH_ID in printed.stderr


def test_files_of_one_name_are_told_apart(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "talk.wav").write_bytes(b"another")
    with serving(as_batch("completed", TALK)) as (url, asked), Client(url, "k") as client:
        client.submit_batch([(files[0], {}), (tmp_path / "more" / "talk.wav", {"model": "tiny.en"})])

    assert '"file": "talk.wav"}, {"kind": "transcription", "model": "tiny.en", "file": "talk (2).wav"}' in sent_items(
        asked
    )
    assert b'filename="talk (2).wav"' in asked.bodies[0]


def test_a_number_that_another_file_has_is_passed_over(tmp_path: Path) -> None:
    names = ["a.wav", "a.wav", "a (2).wav", "a.wav", "a (2).wav", "b", "b"]
    files = [tmp_path / str(n) / name for n, name in enumerate(names)]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(b"RIFF")
    with serving(as_batch("completed", TALK)) as (url, asked), Client(url, "k") as client:
        client.submit_batch([(file, {}) for file in files])

    sent = [item["file"] for item in json.loads(sent_items(asked))]
    assert sent == ["a.wav", "a (3).wav", "a (2).wav", "a (4).wav", "a (2) (2).wav", "b", "b (2)"]
    assert re.findall(rb'filename="(.*?)"', asked.bodies[0]) == [name.encode() for name in sent]


def test_more_files_than_a_batch_takes_are_refused_before_one_is_opened(files: list[Path]) -> None:
    assert client_module.MAX_ITEMS == forms.MAX_ITEMS
    absent = files[0].with_name("absent.wav")
    with serving(as_batch()) as (url, asked), Client(url, "k") as client:
        for n in (0, 101):
            assert refused(lambda n=n: client.submit_batch([(absent, {})] * n)).code == "invalid_request"  # type: ignore[misc]
        printed = run(url, "batch", *[files[0]] * 101)

    assert asked.lines == []
    assert (printed.exit_code, printed.stderr.count("\n")) == (1, 1)
    assert printed.stderr.startswith("error: A batch takes 1 to 100 files, not 101.")


def test_a_batch_whose_connection_breaks_is_sent_again_whole_under_its_key(files: list[Path]) -> None:
    with serving(BROKEN_OFF, as_batch("completed", TALK)) as (url, asked), Client(url, "k") as client:
        client.submit_batch([(file, {}) for file in files])

    assert len({headers["Idempotency-Key"] for headers in asked.headers}) == 1
    assert all(b"talk.wav" in body and b"paper.pdf" in body for body in asked.bodies)


def test_a_batch_is_looked_at_and_cancelled_by_its_id() -> None:
    with serving(as_batch("completed", TALK), as_batch("cancelled", TALK)) as (url, asked):
        shown, cancelled = run(url, "status", "--batch", BATCH_ID), run(url, "cancel", "--batch", BATCH_ID)

    assert asked.lines == [f"GET /v1/batches/{BATCH_ID}", f"POST /v1/batches/{BATCH_ID}/cancel"]
    assert '"request_counts"' in shown.stdout
    assert cancelled.stdout == "cancelled: 1 completed, of 1\n"


def test_a_refusal_of_the_whole_is_an_error(files: list[Path]) -> None:
    with serving(problem(403, "forbidden")) as (url, _), Client(url, "k") as client, pytest.raises(ClientError):
        client.submit_batch([(files[0], {})], lane="express")
