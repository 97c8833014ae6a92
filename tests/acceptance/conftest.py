"""A whole service, started as a user starts it: `scribelane up` on a folder of its own, with real weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from service import launch, patience
from service.client import Client
from service.launch import SCRIBELANE, LocalService
from tests.conftest import write_tiers
from tests.waiting import until

ROOT = Path(__file__).parents[2]

# Short periods, so that a recovery is seen in seconds; everything else as a user has it.
QUICK = {
    "SCRIBELANE_LEASE_S": "6",
    "SCRIBELANE_HEARTBEAT_S": "1",
    "SCRIBELANE_DISPATCH_S": "1",
    "SCRIBELANE_RESCUE_S": "1",
    "SCRIBELANE_CLEAN_S": "2",
    "SCRIBELANE_SWEEP_S": "2",
    "SCRIBELANE_REDISPATCH_S": "4",
    "SCRIBELANE_CHUNK_AUDIO_S": "30",
    "SCRIBELANE_CHUNK_TARGET_S": "1",
    "SCRIBELANE_FAKE_SPEED": "30",
    "SCRIBELANE_CPU_WORKERS": "1",  # so that which process works a chunk is known, and can be struck
    "SCRIBELANE_HUB_DOWNLOAD": "false",
}


@dataclass(frozen=True)
class Service:
    """A running `scribelane up`, and what a test asks of it."""

    local: LocalService

    @property
    def folder(self) -> Path:
        return self.local.folder

    @property
    def url(self) -> str:
        return self.local.url

    @property
    def key(self) -> str:
        return self.local.key

    @property
    def database_url(self) -> str:
        """Its database, for a look where the API shows nothing."""
        environment = json.loads((self.folder / "environment.json").read_text())
        url: str = environment["SCRIBELANE_DATABASE_URL"]
        return url

    @property
    def pid(self) -> int:
        return self.local.process.pid

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)

    def client(self) -> Client:
        return self.local.client()

    def run(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """A `scribelane` command that finds this service by its folder; `typed` is what it reads on stdin."""
        environment = {**os.environ, "SCRIBELANE_DATA_DIR": str(self.folder)}
        command = [SCRIBELANE, *arguments]
        return subprocess.run(
            command, env=environment, input=typed, capture_output=True, text=True, timeout=240, check=False
        )

    def worker(self, lane: str) -> dict[str, Any]:
        """What `/v1/workers` says of the worker for a lane, as soon as it says anything."""
        found: list[dict[str, Any]] = []

        def listed() -> bool:
            with self.http() as http:
                answer = http.get("/v1/workers")
            workers = answer.json()["workers"] if answer.status_code == 200 else []
            found[:] = [one for one in workers if lane in one["lanes"]]
            return bool(found)

        until(listed, what=f"a worker for {lane} reports")
        return found[0]

    def held_still(self, lane: str) -> AbstractContextManager[None]:
        """The worker for a lane does nothing for the length of the block, and is in nobody's way."""
        return _between_transactions(self.worker(lane)["pid"], self.database_url)

    def stop(self) -> int:
        return self.local.stop()

    def kill(self) -> None:
        self.local.process.kill()
        self.local.process.communicate()


def start_service(folder: Path, **environment: str) -> Service:
    folder.mkdir(parents=True, exist_ok=True)
    tiers_file = write_tiers(folder / "tiers.toml", upload_max_bytes=8_000_000)
    return Service(launch.start(folder, {**QUICK, "SCRIBELANE_TIERS_FILE": str(tiers_file), **environment}))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most jobs here are done sooner than a client asks again."""
    monkeypatch.setattr(patience, "POLL_S", 0.1)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as they found it."""
    running = start_service(tmp_path_factory.mktemp("up"))
    yield running
    running.stop()


_IN_A_TRANSACTION = """
SELECT FROM pg_stat_activity
WHERE application_name = 'scribelane' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
"""


@contextmanager
def _between_transactions(pid: int, database_url: str) -> Iterator[None]:
    """This process does nothing for the length of the block, and holds no lock that others wait for meanwhile."""
    with psycopg.connect(database_url, autocommit=True) as connection:

        def nobody_is_in_one() -> bool:
            return connection.execute(_IN_A_TRANSACTION).fetchone() is None

        def stopped_outside() -> bool:
            os.kill(pid, signal.SIGSTOP)
            try:
                until(nobody_is_in_one, within_s=1)  # those of the others end
            except AssertionError:
                os.kill(pid, signal.SIGCONT)
                return False
            return True

        until(stopped_outside, what="the process is stopped between two transactions")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
