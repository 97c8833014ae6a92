"""`scribelane up` as the child of a program: the demo, the benchmarks and the tests run the service as a user does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.client import Client
from service.embedded import free_port

SCRIBELANE = str(Path(sys.executable).with_name("scribelane"))


class NotReady(Exception):
    """The service ended before it was ready; the message is what its processes logged last."""


@dataclass(frozen=True, slots=True)
class LocalService:
    """A running `scribelane up` on `folder`."""

    folder: Path
    url: str
    process: subprocess.Popen[str]

    @property
    def key(self) -> str:
        """The key of the operator's account."""
        return (self.folder / "api-key").read_text().strip()

    def client(self) -> Client:
        """A client with that key."""
        return Client(self.url, self.key)

    def stop(self) -> int:
        """Stop it as Ctrl-C would; returns its exit status."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()
        return self.process.returncode

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of each process's log."""
        tails = []
        for path in sorted((self.folder / "logs").glob("*.log")):
            tails += [f"--- {path.name}", *path.read_text(errors="replace").splitlines()[-lines:]]
        return "\n".join(tails)


def start(folder: Path, environment: Mapping[str, str] | None = None) -> LocalService:
    """Start the service on a free port and wait for its `ready` line. Raises `NotReady`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen(
        [SCRIBELANE, "up", "--port", str(port), "--data-dir", str(folder)],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches the program, which then stops the service
    )
    service = LocalService(folder, url, process)
    assert process.stdout is not None
    if process.stdout.readline() != f"ready {url}\n":
        process.wait()
        raise NotReady(service.log_tail())
    return service


@contextmanager
def running(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[LocalService]:
    """A service for the length of the block."""
    service = start(folder, environment)
    try:
        yield service
    finally:
        service.stop()
