"""An upload is read as it arrives: in pieces of any size, in any order of fields, and within its limits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from httpx2 import Response
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.exceptions import MultipartParseError

from core.dispatch import Bell
from core.errors import InvalidRequest
from core.lanes import Tier
from core.store.accounts import Account
from service.multipart import Form, clean_name
from service.upload import Upload, receiving

BOUNDARY = "b0undary"
LIMIT = 1_000_000  # what the tiers of the fixture `settings` accept


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    shown = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    return f"--{BOUNDARY}\r\nContent-Disposition: {shown}\r\n\r\n".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def read(body: bytes, *, piece: int = 1 << 16) -> tuple[Form, bytes]:
    """The form and its file's content, after the body came in pieces of that many bytes."""
    received = Form(BOUNDARY.encode())
    for start in range(0, len(body), piece):
        received.feed(body[start : start + piece])
    received.finish()
    return received, b"".join(content for _, content in received.pieces)


def post(api: TestClient, body: bytes | Iterator[bytes], content_type: str | None = None) -> Response:
    content_type = content_type or f"multipart/form-data; boundary={BOUNDARY}"
    return api.post("/v1/transcriptions", content=body, headers={"Content-Type": content_type})


def stored_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "jobs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1 << 16])
def test_a_form_is_the_same_in_pieces_of_any_size(piece: int) -> None:
    body = form(part("task", b"translate"), part("file", b"\r\n--b0und\r\n\x00\xff", "a.wav"), part("lane", b"batch"))

    received, content = read(body, piece=piece)

    assert received.fields == {"task": "translate", "lane": "batch"}
    assert (received.files[0].sent_name, content) == ("a.wav", b"\r\n--b0und\r\n\x00\xff")


@given(content=st.binary(max_size=300), piece=st.integers(1, 40))
def test_any_content_arrives_as_it_was_sent(content: bytes, piece: int) -> None:
    received, arrived = read(form(part("file", content, "a.wav")), piece=piece)

    assert arrived == content
    assert received.files[0].n_bytes == len(content)


def test_a_second_file_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="one file"):
        read(form(part("file", b"1", "a.wav"), part("file", b"2", "b.wav")))


def test_a_field_that_is_sent_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="'lane' was sent twice"):
        read(form(part("lane", b"batch"), part("lane", b"standard"), part("file", b"1", "a.wav")))


def test_fields_without_end_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="too long"):
        read(form(part("prompt", b"x" * 70_000), part("file", b"1", "a.wav")))


def test_many_small_fields_count_together() -> None:
    with pytest.raises(InvalidRequest, match="too long"):
        read(form(*(part(f"field{n}", b"x" * 1000) for n in range(100))))


def test_headers_without_end_are_refused() -> None:
    with pytest.raises((InvalidRequest, MultipartParseError)):
        read(form(part("file", b"1", "a" * 200_000)))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\talk.mp3", "talk.mp3"),
        ("a\x00b.wav", "ab.wav"),
        ("Übung – 日本語.m4a", "Übung – 日本語.m4a"),
        ("  talk.wav ", "talk.wav"),
        ("say %22cheese%22.wav", 'say "cheese".wav'),
        ("two%0D%0Alines.wav", "twolines.wav"),
        ("gpj.\u202eslaw.exe", "gpj.slaw.exe"),
        ("two\u2028lines\ufeff.wav", "twolines.wav"),
        ("नमस्\u200dते.wav", "नमस्\u200dते.wav"),
        ("100%.wav", "100%.wav"),
        ("a%20b%2F.wav", "a%20b%2F.wav"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_name_is_kept_without_folders_and_control_characters(sent: str, kept: str) -> None:
    received, _ = read(form(part("file", b"1", sent)))

    assert clean_name(received.files[0].sent_name) == kept


@pytest.mark.parametrize("sent", ["", " ", "..", ".", "/", "../", "a/..", "\x07"])
def test_a_name_of_which_nothing_is_left_is_refused(sent: str) -> None:
    received, _ = read(form(part("file", b"1", sent)))

    with pytest.raises(InvalidRequest, match="no name"):
        clean_name(received.files[0].sent_name)


def test_a_name_may_be_sent_in_the_encoded_form_of_rfc_5987() -> None:
    body = form(part("file", b"1", "x").replace(b'filename="x"', b"filename*=utf-8''%C3%9C%2522.wav"))

    assert read(body)[0].files[0].sent_name == "Ü%22.wav"


@pytest.mark.parametrize("charset", ["idna", "punycode", "undefined", "a\x00b", "no-such-charset"])
def test_a_name_in_a_charset_that_cannot_be_read_is_refused_or_read_as_it_stands(charset: str) -> None:
    body = form(part("file", b"1", "x").replace(b'filename="x"', f"filename*={charset}''%ffx".encode()))

    with contextlib.suppress(InvalidRequest):
        assert read(body)[0].files[0].sent_name is not None


def test_options_may_stand_before_and_after_the_file(api: TestClient) -> None:
    answer = post(api, form(part("task", b"translate"), part("file", b"RIFF", "a.wav"), part("lane", b"batch")))

    assert answer.status_code == 202
    assert (answer.json()["options"]["task"], answer.json()["lane"]) == ("translate", "batch")


@pytest.mark.parametrize(("n_bytes", "status"), [(LIMIT, 202), (LIMIT + 1, 413)])
def test_a_file_of_exactly_the_limit_becomes_a_job_and_a_byte_more_is_too_much(
    api: TestClient, n_bytes: int, status: int
) -> None:
    assert post(api, form(part("file", b"x" * n_bytes, "a.wav"))).status_code == status


def test_a_body_without_length_is_still_limited_and_leaves_nothing(api: TestClient, tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        yield part("file", b"", "a.wav").removesuffix(b"\r\n")
        for _ in range(100):
            yield b"x" * 100_000

    answer = post(api, endless())

    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
    assert stored_files(tmp_path / "blobs") == []


@pytest.mark.parametrize("end", [b"", b"\r\n", f"\r\n--{BOUNDARY}".encode(), f"\r\n--{BOUNDARY}\r\n".encode()])
def test_a_body_that_breaks_off_is_refused_and_leaves_nothing(api: TestClient, tmp_path: Path, end: bytes) -> None:
    answer = post(api, part("file", b"RIFF" * 100, "a.wav").removesuffix(b"\r\n") + end)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert stored_files(tmp_path / "blobs") == []


def test_a_form_without_a_file_is_refused(api: TestClient) -> None:
    assert post(api, form(part("task", b"translate"))).status_code == 422


def test_a_file_under_another_name_is_refused_with_the_right_name(api: TestClient) -> None:
    answer = post(api, form(part("audio", b"RIFF" * 50_000, "a.wav")))

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["detail"] == "Send the file in the field `file`, not 'audio'."


def test_a_file_that_is_sent_without_any_name_is_refused_as_such() -> None:
    with pytest.raises(InvalidRequest, match="The file has no name"):
        read(form(part("file", b"R" * 100_000)))


def test_a_file_beside_the_right_one_is_refused_too() -> None:
    with pytest.raises(InvalidRequest, match="not 'metadata'"):
        read(form(part("file", b"1", "a.wav"), part("metadata", b"{}", "b.json")))


def given_up(api: TestClient, *, taken: bool) -> Upload:
    """An upload whose client went away after it was stored, before or after a job had taken it."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": form(part("file", b"RIFF", "a.wav"))}

    async def upload() -> Upload:
        assert isinstance(api.app, FastAPI)
        content_type = f"multipart/form-data; boundary={BOUNDARY}".encode()
        request = Request(
            {"type": "http", "path": "/v1/transcriptions", "headers": [(b"content-type", content_type)]}, receive
        )
        account = Account(uuid4(), "ada", Tier.PRO, operator=False)
        received = receiving(1)(request, api.app.state.service, account, None)
        stored = await anext(received)
        with anyio.CancelScope() as scope:
            if taken:
                stored.offer(stored.files[0].job_id)
            scope.cancel()
            try:
                await anyio.sleep_forever()
            except BaseException as cancelled:
                await received.athrow(cancelled)
        return stored

    return anyio.run(upload)


def test_a_file_of_a_request_that_was_given_up_is_taken_away(api: TestClient, tmp_path: Path) -> None:
    given_up(api, taken=False)

    assert stored_files(tmp_path / "blobs") == []


def test_a_file_that_a_job_has_taken_stays_when_its_request_is_given_up(api: TestClient, tmp_path: Path) -> None:
    stored = given_up(api, taken=True)

    assert stored_files(tmp_path / "blobs") == [tmp_path / "blobs" / "jobs" / str(stored.files[0].job_id) / "input"]


def test_a_job_that_was_committed_has_its_file_even_if_its_request_fails(
    api: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Bell) -> None:
        raise RuntimeError("after the commit")

    monkeypatch.setattr(Bell, "ring", broken)
    with pytest.raises(RuntimeError, match="after the commit"):
        post(api, form(part("file", b"RIFF", "a.wav")))

    (job,) = api.get("/v1/jobs").json()["data"]
    assert stored_files(tmp_path / "blobs") == [tmp_path / "blobs" / "jobs" / job["id"] / "input"]


def test_a_body_that_is_no_form_is_refused(api: TestClient) -> None:
    assert post(api, b"RIFF").status_code == 422


@pytest.mark.parametrize("content_type", ["multipart/form-data", "audio/wav", "text/plain", "multipart/mixed"])
def test_a_body_of_another_type_or_without_a_boundary_is_a_415(api: TestClient, content_type: str) -> None:
    answer = post(api, form(part("file", b"RIFF", "a.wav")), content_type)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_boundary_that_is_too_long_is_refused(api: TestClient) -> None:
    assert post(api, b"", f"multipart/form-data; boundary={'b' * 300}").status_code in (415, 422)
