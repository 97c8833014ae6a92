"""`/healthz` says that the API lives; `/readyz` says whether a job would be worked, and what is missing."""

from __future__ import annotations

from collections.abc import Callable

import redis
import structlog
from fastapi import APIRouter, Response
from obstore.exceptions import BaseError as BlobError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core import ownership
from core.errors import Unavailable
from core.lanes import CONTROL_QUEUE, INFERENCE_QUEUES, IO_QUEUES, QUERY_QUEUE
from core.store import migrations, workers
from service.deps import Service, ServiceDep
from service.schemas import Health

log = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])

_STARTED_BY = {
    **dict.fromkeys(INFERENCE_QUEUES, "scribelane worker"),
    **dict.fromkeys(IO_QUEUES, "scribelane worker --io"),
    QUERY_QUEUE: "scribelane worker --lanes query",
    CONTROL_QUEUE: "scribelane beat",
}


@router.get("/healthz")
def healthz() -> Health:
    """The API process answers."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health}})
def readyz(service: ServiceDep, response: Response) -> Health:
    """Database, broker, media store and a worker for each lane are there."""
    checks: tuple[Callable[[Service], list[str]], ...] = (_database, _broker, _blobs, _workers)
    missing = [line for check in checks for line in check(service)]
    if missing:
        response.status_code = 503
    return Health(status="unavailable" if missing else "ok", missing=missing)


def _database(service: Service) -> list[str]:
    try:
        current = migrations.current(service.database)
    except SQLAlchemyError as error:
        log.warning("database not ready", error=str(error).split("\n")[0])
        return ["the database does not answer"]
    newest = migrations.newest()
    return [] if current == newest else [f"the database is at {current}, not {newest}: run `scribelane migrate`"]


def _broker(service: Service) -> list[str]:
    try:
        with redis.Redis.from_url(service.broker_url, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()
    except (RedisError, OSError) as error:
        log.warning("broker not ready", error=str(error))
        return ["the broker does not answer"]
    return []


def _blobs(service: Service) -> list[str]:
    try:
        service.blobs.check()
        ownership.check(service.database, service.blobs)
    except (BlobError, OSError) as error:
        log.warning("media store not ready", error=str(error))
        return ["the media store cannot be written"]
    except Unavailable as error:
        log.warning("media store not ready", error=error.message)
        return ["the media store is not this service's, or not mounted"]
    except SQLAlchemyError:
        return []  # `_database` has said it
    return []


def _workers(service: Service) -> list[str]:
    try:
        with service.database.transaction() as connection:
            seen = workers.seen(connection, service.worker_silence_s)
    except SQLAlchemyError:
        return []  # `_database` has said it
    served = {lane for one in seen for lane in one.worker.lanes}
    absent: dict[str, list[str]] = {}
    for queue, command in _STARTED_BY.items():
        if queue not in served:
            absent.setdefault(command, []).append(queue)
    return [f"no worker for {', '.join(queues)}: start `{command}`" for command, queues in absent.items()]
