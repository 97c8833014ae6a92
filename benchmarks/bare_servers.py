"""The servers of a service for a benchmark of some of its parts: PostgreSQL, migrated, and Valkey, both real.

The benchmark starts the other processes itself, as many as it wants to see. `loaded_service` starts a whole service.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Row

from core.store import migrations
from core.store.session import Database
from service.embedded import start_postgres, start_valkey
from service.processes import Command
from service.supervisor import Program, Supervisor

MAX_CONNECTIONS = 400
"""PostgreSQL's default of 100 is too few for 64 workers: each holds up to three."""


@dataclass(frozen=True, slots=True)
class BareServers:
    """The running servers; `environment` tells another process where they are."""

    folder: Path
    supervisor: Supervisor
    database: Database
    environment: Mapping[str, str]

    def start(self, name: str, command: Command, **environment: str) -> None:
        """Start a process of the service, as `scribelane up` does."""
        own = {**command.environment, **self.environment, **environment}
        self.supervisor.start(Program(name, command.argv, own, grace_s=30))

    def rows(self, statement: str, **values: object) -> Sequence[Row[Any]]:
        """What the database says."""
        with self.database.transaction() as connection:
            answered = connection.execute(sa.text(statement), values)
            return answered.all() if answered.returns_rows else []


@contextmanager
def bare_servers() -> Iterator[BareServers]:
    """PostgreSQL and Valkey for the length of the block, as durable as in a deployment; then everything is stopped."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        supervisor = Supervisor(folder / "logs")
        try:
            database = Database(url := _postgres(supervisor, folder / "postgres"))
            migrations.upgrade(database)
            environment = {
                "SCRIBELANE_DATABASE_URL": url,
                "SCRIBELANE_BROKER_URL": start_valkey(supervisor, folder / "valkey"),
                "SCRIBELANE_BLOB_URL": (folder / "blobs").as_uri(),
            }
            yield BareServers(folder, supervisor, database, environment)
            database.close()
        finally:
            supervisor.stop()


def _postgres(supervisor: Supervisor, folder: Path) -> str:
    with psycopg.connect(start_postgres(supervisor, folder), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}".encode())
    supervisor.stop("postgres")
    return start_postgres(supervisor, folder)
