"""The API as a process of its own, for clients that need a port, and for tests that kill it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx

from core.settings import Settings
from service import processes
from service.embedded import free_port
from tests.waiting import until


@dataclass(frozen=True)
class ServedApi:
    """A running API, on this test's servers, without workers."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/healthz", trust_env=False).is_success
        return False


@contextmanager
def serving(settings: Settings) -> Iterator[ServedApi]:
    """The API until the end of the block, once it answers."""
    port = free_port()
    command = processes.api("127.0.0.1", port)
    own = {
        "SCRIBELANE_DATABASE_URL": settings.database_url,
        "SCRIBELANE_BROKER_URL": settings.broker_url,
        "SCRIBELANE_BLOB_URL": settings.blob_url,
    }
    api = ServedApi(subprocess.Popen(command.argv, env={**os.environ, **command.environment, **own}), port)
    try:
        until(api.answers, within_s=60)
        yield api
    finally:
        api.process.kill()
        api.process.wait()
