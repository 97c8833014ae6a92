"""A whole service, started as a user starts it: `scribelane up` on a folder of its own, with real weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import Client
from service.embedded import free_port

ROOT = Path(__file__).parents[2]
SCRIBELANE = str(Path(sys.executable).with_name("scribelane"))

# Short periods, so that a recovery is seen in seconds; everything else as a user has it.
QUICK = {
    "SCRIBELANE_LEASE_S": "6",
    "SCRIBELANE_HEARTBEAT_S": "1",
    "SCRIBELANE_DISPATCH_S": "1",
    "SCRIBELANE_RESCUE_S": "1",
    "SCRIBELANE_CLEAN_S": "2",
    "SCRIBELANE_REDISPATCH_S": "4",
    "SCRIBELANE_CHUNK_AUDIO_S": "30",
    "SCRIBELANE_UPLOAD_MAX_BYTES": "8000000",
    "SCRIBELANE_FAKE_SPEED": "30",
    "SCRIBELANE_HUB_DOWNLOAD": "false",
}


@dataclass
class Service:
    """A running `scribelane up`."""

    folder: Path
    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.folder / "api-key").read_text().strip()

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)

    def client(self) -> Client:
        return Client(self.url, self.key)

    def run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """A `scribelane` command that finds this service by its folder."""
        environment = {**os.environ, "SCRIBELANE_DATA_DIR": str(self.folder)}
        command = [SCRIBELANE, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, **more)

    def worker(self, lane: str) -> dict[str, Any]:
        """What `/v1/workers` says of the worker for a lane, as soon as it says anything."""
        found: list[dict[str, Any]] = []

        def listed() -> bool:
            with self.http() as http:
                answer = http.get("/v1/workers")
            workers = answer.json()["workers"] if answer.status_code == 200 else []
            found[:] = [one for one in workers if lane in one["lanes"]]
            return bool(found)

        eventually(listed, f"a worker for {lane} reports")
        return found[0]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(150)

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted((self.folder / "logs").glob("*.log")))


def start_service(folder: Path, **environment: str) -> Service:
    port = free_port()
    process = subprocess.Popen(
        [SCRIBELANE, "up", "--port", str(port), "--data-dir", str(folder)],
        env={**os.environ, **QUICK, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    service = Service(folder, port, process)
    assert process.stdout.readline() == f"ready {service.url}\n", service.logs()
    return service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as they found it."""
    running = start_service(tmp_path_factory.mktemp("up"))
    yield running
    if running.process.poll() is None:
        running.stop()


def eventually(holds: Callable[[], bool], what: str, within_s: float = 60) -> None:
    """Wait for a state; fails with `what` if it does not come."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"not within {within_s} s: {what}"
        time.sleep(0.05)
