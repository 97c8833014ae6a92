"""What tests stand on: a real PostgreSQL and a real Valkey for the session, a fresh database for each test."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
import redis
from fastapi.testclient import TestClient

from core.lanes import Tier
from core.settings import Settings
from core.store import accounts, migrations
from core.store.accounts import Account
from core.store.session import Database
from service.app import create_app
from service.embedded import start_postgres, start_valkey
from service.supervisor import Supervisor

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Servers:
    """Where the session's servers are; `template_url` is a migrated database that nobody writes to."""

    template_url: str
    broker_url: str


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    supervisor = Supervisor(tmp_path_factory.mktemp("servers"))
    # Not below pytest's folder: PostgreSQL gives up root, and every session that begins closes that one to others.
    data = TemporaryDirectory(prefix="scribelane-tests-")
    try:
        url = start_postgres(supervisor, Path(data.name) / "postgres")
        broker_url = start_valkey(supervisor, Path(data.name) / "valkey")
        with psycopg.connect(url, autocommit=True) as connection:
            # Nothing of it is to survive, so nothing waits for the disk; a test of what survives starts its own.
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE template")
        template_url = url.replace("/postgres?", "/template?")
        database = Database(template_url)
        migrations.upgrade(database)
        database.close()
        yield Servers(template_url, broker_url)
    finally:
        supervisor.stop()
        data.cleanup()


@pytest.fixture
def database_url(servers: Servers) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    with fresh_database(servers) as url:
        yield url


@contextmanager
def fresh_database(servers: Servers) -> Iterator[str]:
    """The URL of a migrated, empty database. It goes with the block: a thousand of them are gigabytes of files."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(servers.template_url.replace("/template?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template".encode())
        yield servers.template_url.replace("/template?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def broker_url(servers: Servers) -> str:
    """The session's Valkey, empty."""
    with redis.Redis.from_url(servers.broker_url) as client:
        client.flushall()
    return servers.broker_url


@pytest.fixture
def settings(database_url: str, broker_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        blob_url=(tmp_path / "blobs").as_uri(),
        tiers_file=write_tiers(tmp_path / "tiers.toml", upload_max_bytes=1_000_000),
    )


def write_tiers(file: Path, **lines: int | float | str) -> Path:
    """A file of tiers in which these lines hold for every tier, and the defaults for everything else."""
    table = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    file.write_text("".join(f"[tiers.{tier}]\n{table}" for tier in Tier))
    return file


@pytest.fixture
def account(database: Database) -> Account:
    with database.transaction() as connection:
        return accounts.create(connection, "ada", Tier.PRO)


@pytest.fixture
def key(database: Database, account: Account) -> str:
    with database.transaction() as connection:
        return accounts.issue_key(connection, account.id)


@pytest.fixture
def api(settings: Settings, key: str) -> Iterator[TestClient]:
    """The API in this process, on real servers, without workers; it carries `ada`'s key."""
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 32 KiB, which is a second of decoded sound."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system, and not in every container")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
