"""The media store under a deployment that runs: taken away from it, full, or read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.faults.deployment import Deployment
from tests.faults.moments import Caught
from tests.faults.state import EVERY_S
from tests.waiting import until

_IN_VAIN = text("""
SELECT FROM jobs WHERE id = :job
  AND (finished_at IS NOT NULL OR EXISTS (
       SELECT FROM chunks WHERE job_id = :job AND status = 'queued' AND attempt >= 3))
""")


@contextmanager
def away(whole: Deployment) -> Iterator[None]:
    """For the length of the block a file stands where the store's folder was: nothing is found there, or written."""
    folder = whole.blob_folder
    aside = folder.with_name("blobs-aside")
    folder.rename(aside)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def take_away(whole: Deployment, caught: Caught) -> Callable[[], None]:
    """It comes back when a chunk of the job has been tried as often as one that is charged for it may be."""
    gone = away(whole)
    gone.__enter__()

    def bring_back() -> None:
        try:
            await_three_tries(whole, caught.job_id)
        finally:
            gone.__exit__(None, None, None)

    return bring_back


def await_three_tries(whole: Deployment, job_id: UUID) -> None:
    """Wait until a chunk of the job was tried three times in vain, or the job has failed at it."""

    def tried() -> bool:
        with whole.database() as database, database.transaction() as connection:
            return bool(connection.execute(_IN_VAIN, {"job": job_id}).all())

    until(tried, within_s=120, every_s=EVERY_S)


@dataclass(frozen=True)
class SmallStore:
    """A file system of its own for the media of jobs."""

    folder: Path

    def fill(self, job_id: UUID, *, room: int) -> None:
        """Leave so many bytes of room; by a file of this job, as one without a job would be an orphan."""
        there = os.statvfs(self.folder)
        (self.folder / str(job_id) / "filler").write_bytes(bytes(there.f_bavail * there.f_bsize - room))

    def make_room(self, job_id: UUID) -> None:
        """Take that file away."""
        (self.folder / str(job_id) / "filler").unlink()

    def set_writable(self, writable: bool) -> None:
        """Mount it anew. The system refuses while a file is being written."""
        mode = "rw" if writable else "ro"
        until(lambda: _succeeds("mount", "-o", f"remount,{mode}", str(self.folder)))


@contextmanager
def small_store(whole: Deployment, n_bytes: int) -> Iterator[SmallStore]:
    """The media of jobs that are submitted within the block lies here, and is gone after it."""
    folder = whole.blob_folder / "jobs"
    if not _succeeds("mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)):
        pytest.skip("only root may mount a file system, and not in every container")
    try:
        yield SmallStore(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
