"""What the tests of dispatching share: a dispatcher, and a look into the broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from core.broker import make_celery
from core.dispatch import Dispatcher
from core.store.session import Database
from tests.integration.work import PROMISES


@pytest.fixture
def dispatcher(database: Database, broker_url: str) -> Dispatcher:
    return Dispatcher(database, make_celery(broker_url), PROMISES)


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url) as client:
        yield client
