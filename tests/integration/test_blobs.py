"""Blobs are whole or absent, belong to one job each, and go with it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.exceptions import BaseError as BlobError

from core.errors import Misconfigured
from core.store.blobs import Blobs, chunk_key, chunks_prefix, input_key, job_prefix

JOB = uuid.UUID(int=1)
SIBLING = uuid.UUID(int=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a folder"  # a space must survive the URL


@pytest.fixture
def blobs(folder: Path) -> Blobs:
    return Blobs(folder.as_uri())


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def stream(*parts: bytes, fails: bool = False) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if fails:
        raise ConnectionResetError


def test_what_is_put_is_got(blobs: Blobs) -> None:
    blobs.put(input_key(JOB), b"RIFF")

    assert blobs.get(input_key(JOB)) == b"RIFF"


def test_a_file_is_put_by_its_path(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(b"RIFF")

    blobs.put(input_key(JOB), tmp_path / "talk.wav")

    assert blobs.get(input_key(JOB)) == b"RIFF"


def test_a_stream_is_stored_whole(blobs: Blobs) -> None:
    asyncio.run(blobs.put_stream(input_key(JOB), stream(b"a" * 1_000_000, b"", b"b" * 7_000_000)))

    assert blobs.get(input_key(JOB)) == b"a" * 1_000_000 + b"b" * 7_000_000


@pytest.mark.parametrize("received", [b"a", b"a" * 12_000_000])
def test_a_stream_that_breaks_off_leaves_nothing(blobs: Blobs, folder: Path, received: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        asyncio.run(blobs.put_stream(input_key(JOB), stream(received, fails=True)))

    assert files(folder) == []


def test_a_blob_is_downloaded_to_a_file(blobs: Blobs, tmp_path: Path) -> None:
    content = bytes(range(256)) * 50_000
    blobs.put(input_key(JOB), content)

    blobs.download(input_key(JOB), tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == content


def test_a_blob_that_is_not_there_is_an_error(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        blobs.get(input_key(JOB))
    with pytest.raises(FileNotFoundError):
        blobs.download(input_key(JOB), tmp_path / "copy")


def test_erasing_a_job_takes_everything_of_it_and_nothing_of_another(blobs: Blobs, folder: Path) -> None:
    for key in (input_key(JOB), chunk_key(JOB, 0), chunk_key(JOB, 1), input_key(SIBLING)):
        blobs.put(key, b"x")

    assert blobs.erase(job_prefix(JOB)) == 3
    assert files(folder) == [input_key(SIBLING)]
    assert not (folder / job_prefix(JOB)).exists()


def test_erasing_the_chunks_keeps_the_input(blobs: Blobs, folder: Path) -> None:
    for key in (input_key(JOB), chunk_key(JOB, 0), chunk_key(JOB, 10)):
        blobs.put(key, b"x")

    assert blobs.erase(chunks_prefix(JOB)) == 2
    assert files(folder) == [input_key(JOB)]


def test_erasing_nothing_is_fine(blobs: Blobs) -> None:
    assert blobs.erase(job_prefix(JOB)) == 0


def test_a_store_without_a_place_says_which_setting_is_missing() -> None:
    with pytest.raises(Misconfigured, match="SCRIBELANE_BLOB_URL"):
        Blobs("")


def test_a_store_that_can_be_written_passes_its_check_and_keeps_nothing_of_it(blobs: Blobs, folder: Path) -> None:
    blobs.check()

    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_store_that_cannot_be_written_fails_its_check(blobs: Blobs, folder: Path) -> None:
    folder.rmdir()
    folder.write_bytes(b"a file where the folder was")

    with pytest.raises(Exception, match=r"(?i)not a directory|directory"):
        blobs.check()


def test_a_job_is_erased_although_a_worker_still_writes_into_it(blobs: Blobs, folder: Path) -> None:
    stopped = threading.Event()

    def write() -> None:
        for ordinal in itertools.count():
            if stopped.is_set():
                return
            blobs.put(chunk_key(JOB, ordinal), b"audio")
            stopped.wait(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(20):
        blobs.erase(job_prefix(JOB))
    stopped.set()
    writer.join()

    blobs.erase(job_prefix(JOB))
    assert files(folder) == []


def test_what_cannot_be_erased_is_an_error_of_the_store(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    blobs.put(input_key(JOB), b"RIFF")
    monkeypatch.setattr("shutil.rmtree", refuse)

    with pytest.raises(BlobError, match="Operation not permitted"):
        blobs.erase(job_prefix(JOB))
