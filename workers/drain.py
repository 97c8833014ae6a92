"""A worker that was told to stop finishes its chunk, or gives it back when its time is up.

Celery's warm shutdown stops taking messages and waits for the chunk in work, however long that takes. Whoever sent
the signal does not: a container is killed after its grace period, and the chunk would be charged a failure. So the
parent process counts from the signal on, and after `drain_s` gives back at no charge what its children hold, and ends;
the system ends the children with it (`workers.celery_app`), and the fence refuses what they may still deliver.
"""

from __future__ import annotations

import os
import threading

import structlog

from core.store import chunks, completion
from core.store.chunks import Orphan
from core.store.session import Database

log = structlog.get_logger(__name__)


def begin(database_url: str, worker_id: str, drain_s: float) -> None:
    """Count from now on; called in the parent when it is told to stop."""
    log.info("stopping; a chunk in work is finished first", within_s=drain_s)
    timer = threading.Timer(drain_s, _end, (database_url, worker_id))
    timer.daemon = True
    timer.start()


def hand_back(database: Database, worker_id: str) -> int:
    """Queue again, at no charge, every chunk that the worker or a child of it works; returns how many.

    One that cannot be given back keeps no other from it: its lease will run out.
    """
    with database.transaction() as connection:
        held = chunks.held_by(connection, worker_id)
    return sum(_hand_back_one(database, orphan) for orphan in held)


def _hand_back_one(database: Database, orphan: Orphan) -> bool:
    try:
        with database.transaction() as connection:
            return completion.hand_back(connection, orphan)
    except Exception:
        log.exception("could not give back a chunk; its lease will run out", chunk=str(orphan.chunk_id))
        return False


def _end(database_url: str, worker_id: str) -> None:
    try:
        given = hand_back(Database(database_url, pool_size=1), worker_id)
        log.warning("out of time; what was in work is given back", chunks=given)
    except Exception:
        log.exception("could not give back what was in work; its lease will run out")
    finally:
        os._exit(0)
