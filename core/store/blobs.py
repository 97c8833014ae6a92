"""Media and chunk audio, in a folder or an object store: the URL decides.

A job's blobs share one prefix, so erasing a job is erasing a prefix:

    jobs/<job id>/input          what the client sent
    jobs/<job id>/chunks/<n>-<a> the audio of one chunk, as attempt a of `prepare` cut it
    owner                        the id of the database whose jobs these are

What is left of a request that died lies there as well, and belongs to no job; `workers.orphans` finds it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import UUID, uuid4

import obstore
from obstore.exceptions import GenericError
from obstore.store import LocalStore, ObjectStore, from_url
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from core.errors import Misconfigured


def input_key(job_id: UUID) -> str:
    """Where the media of a job lies."""
    return f"{job_prefix(job_id)}/input"


def chunk_key(job_id: UUID, ordinal: int, attempt: int = 0) -> str:
    """Where the audio of one chunk lies. An attempt that has lost its lease without knowing writes beside, not over.

    Attempt 0: it was cut by a release that knew no attempts.
    """
    return f"{chunks_prefix(job_id)}/{ordinal}" + (f"-{attempt}" if attempt else "")


def chunks_prefix(job_id: UUID) -> str:
    """Where the audio of all chunks of a job lies."""
    return f"{job_prefix(job_id)}/chunks"


def job_prefix(job_id: UUID) -> str:
    """Where everything of a job lies."""
    return f"{JOBS}/{job_id}"


JOBS, PROBES = "jobs", "probes"
OWNER = "owner"
_PROBE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """What the store knows of a blob. Two contents never have the same `e_tag` under one key; some stores have none."""

    key: str
    n_bytes: int
    e_tag: str | None

    @property
    def job(self) -> str:
        """The id of the job that it belongs to."""
        return self.key.split("/")[1]


@dataclass(frozen=True, slots=True)
class Holding:
    """What lies together under one prefix, such as that of a job. `written_at`: when the newest of it was."""

    folder: str
    name: str
    written_at: datetime

    @property
    def prefix(self) -> str:
        """For `Blobs.erase`."""
        return f"{self.folder}/{self.name}"


class Blobs:
    """A blob store. Writes are atomic: a blob is whole or absent."""

    def __init__(self, url: str) -> None:
        self._folder: Path | None = None
        if not url:
            raise Misconfigured("SCRIBELANE_BLOB_URL is not set, for example file:///var/lib/scribelane/blobs.")
        if urlsplit(url).scheme == "file":
            self._folder = Path(url2pathname(urlsplit(url).path))
            self._store: ObjectStore = LocalStore(self._folder, mkdir=True)
        else:
            self._store = from_url(url)

    def put(self, key: str, content: bytes | Path) -> None:
        """Store bytes or a file under `key`."""
        obstore.put(self._store, key, content)

    async def put_stream(self, key: str, parts: AsyncIterator[bytes]) -> None:
        """Store a stream under `key` without holding it in memory. If `parts` raises, nothing is stored."""
        await obstore.put_async(self._store, key, parts)

    def has(self, key: str) -> bool:
        """Whether something is stored under `key`."""
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def get(self, key: str) -> bytes:
        """A small blob, whole."""
        return bytes(obstore.get(self._store, key).bytes())

    def pieces(self, key: str) -> Iterator[bytes]:
        """A blob, piece by piece."""
        for part in obstore.get(self._store, key):
            yield bytes(part)

    def download(self, key: str, target: Path) -> None:
        """Write the blob to the file `target`, piece by piece."""
        with target.open("wb") as file:
            for part in obstore.get(self._store, key):
                file.write(part)

    def of_jobs(self) -> Iterator[StoredBlob]:
        """Every blob that is stored for a job."""
        for batch in obstore.list(self._store, "jobs"):
            for meta in batch:
                yield StoredBlob(meta["path"], meta["size"], meta["e_tag"])

    def erase(self, prefix: str) -> int:
        """Delete every blob under `prefix`; returns how many. Erasing nothing, or twice at once, is fine."""
        paths = [meta["path"] for batch in obstore.list(self._store, prefix) for meta in batch]
        if self._folder is not None:
            _remove(self._folder / prefix)
        elif paths:
            obstore.delete(self._store, paths)
        return len(paths)

    def holdings(self, folder: str, after: str = "") -> Iterator[Holding]:
        """What lies under each prefix in `folder`, in the order of their names; those after the name `after`.

        In a folder of files that includes what is half written, and what is empty.
        """
        if self._folder is not None:
            return _holdings_of_folder(self._folder, folder, after)
        return self._holdings_of_objects(folder, after)

    def _holdings_of_objects(self, folder: str, after: str) -> Iterator[Holding]:
        offset = f"{folder}/{after}0" if after else None  # 0 comes after /, so this is behind all of `after`
        listed = (meta for batch in obstore.list(self._store, folder, offset=offset) for meta in batch)
        for name, its in groupby(listed, key=lambda meta: meta["path"].split("/")[1]):
            yield Holding(folder, name, max(meta["last_modified"] for meta in its))

    def check(self) -> None:
        """Raise if the store cannot be written."""
        probe = f"{PROBES}/{uuid4()}"
        obstore.put(self._store, f"{probe}/written", bytes(_PROBE_BYTES))  # an empty one would fit on a full disk
        self.erase(probe)


def _holdings_of_folder(root: Path, folder: str, after: str) -> Iterator[Holding]:
    if folder not in os.listdir(root):  # raises where the whole store is away
        return
    for name in sorted(name for name in os.listdir(root / folder) if name > after):
        times = [mtime for path, _, files in os.walk(root / folder / name) for mtime in _times(path, files)]
        if times:
            yield Holding(folder, name, datetime.fromtimestamp(max(times), UTC))


def _times(path: str, files: list[str]) -> Iterator[float]:
    """When a folder and the files in it were last written, but for those that are gone meanwhile."""
    for each in (path, *(os.path.join(path, file) for file in files)):
        try:
            yield os.lstat(each).st_mtime
        except FileNotFoundError:
            continue


@retry(retry=retry_if_exception_type(OSError), stop=stop_after_attempt(5), wait=wait_fixed(0.05), reraise=True)
def _remove_once(folder: Path) -> None:
    """Remove a folder with all that is in it. A worker that writes into it meanwhile makes another try necessary."""
    shutil.rmtree(folder, onerror=_unless_gone)


def _remove(folder: Path) -> None:
    """Like an object store's delete: the folders go along, and it fails with an error of the store."""
    try:
        _remove_once(folder)
    except OSError as error:
        raise GenericError(f"{folder.name} could not be erased: {error.strerror}") from error


def _unless_gone(_call: object, _path: str, failure: tuple[type[BaseException], BaseException, object]) -> None:
    """For `rmtree`: somebody else was quicker is fine, anything else is not."""
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
