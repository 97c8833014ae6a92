"""A clock of the database's own, which a test can set: PostgreSQL under libfaketime.

Debian and Ubuntu have it as the package `faketime`. Only what PostgreSQL tells for the time changes; it waits by a
clock that cannot be set, as on a machine whose time is corrected.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from service.supervisor import Program, Supervisor

_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


class DatabaseClock:
    """As the world's, until it is set."""

    def __init__(self, folder: Path) -> None:
        """`folder` is open to others, as PostgreSQL gives up root."""
        self._file = folder / "clock"
        self.set_ahead(0)

    def set_ahead(self, seconds: int) -> None:
        """From now on it is so many seconds ahead of the world's."""
        new = self._file.with_suffix(".new")
        new.write_text(f"+{seconds}\n")
        new.chmod(0o644)
        os.replace(new, self._file)

    def environment(self) -> dict[str, str]:
        """Of a PostgreSQL that goes by it. Skips the test where libfaketime is not installed."""
        libraries = [path for place in _PLACES for path in Path("/").glob(place.lstrip("/"))]
        if not libraries:
            pytest.skip("libfaketime sets the database's clock; on Debian and Ubuntu: apt-get install faketime")
        return {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


class ClockedSupervisor(Supervisor):
    """Starts PostgreSQL by that clock."""

    def __init__(self, log_folder: Path, clock: DatabaseClock) -> None:
        super().__init__(log_folder)
        self._of_postgres = clock.environment()

    def start(self, program: Program) -> int:
        if program.name == "postgres":
            program = dataclasses.replace(program, environment={**program.environment, **self._of_postgres})
        return super().start(program)
