"""What integration tests share: a dispatcher, a look into the broker, and a database before its first migration."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
import redis

from core.broker import make_celery
from core.dispatch import Dispatcher
from core.store.session import Database
from tests.conftest import Servers
from tests.integration.work import PROMISES


@pytest.fixture
def dispatcher(database: Database, broker_url: str) -> Dispatcher:
    return Dispatcher(database, make_celery(broker_url), PROMISES)


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url) as client:
        yield client


@pytest.fixture
def empty_database(servers: Servers) -> Iterator[Database]:
    """A database before its first migration."""
    name = f"unmigrated_{uuid.uuid4().hex}"
    admin_url = servers.template_url.replace("/template?", "/postgres?")
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    database = Database(servers.template_url.replace("/template?", f"/{name}?"))
    yield database
    database.close()
