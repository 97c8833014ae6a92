"""The Celery application of the workers and Beat: `celery -A workers.celery_app …`.

`scribelane worker` and `scribelane beat` start it with the right queues; each child process builds its
`runtime` when it begins and takes it down when it ends.
"""

from __future__ import annotations

import os
import time
from typing import Any

import structlog
from celery.platforms import set_pdeathsig
from celery.signals import (
    beat_embedded_init,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from core.broker import TimeLimits, make_celery
from core.logs import configure_logging
from core.settings import settings
from workers import beat, drain, settling

log = structlog.get_logger(__name__)

_EXIT_CANNOT_START = 70  # EX_SOFTWARE of sysexits.h
_PAUSE_S = 5.0  # its parent starts it again at once
_settings = settings()

settling.install()
app = make_celery(
    _settings.broker_url,
    TimeLimits(_settings.soft_time_limit_s, _settings.time_limit_s),
)
app.conf.update(
    include=["workers.tasks"],
    beat_schedule=beat.schedule(
        dispatch_s=_settings.dispatch_s,
        rescue_s=min(_settings.rescue_s, _settings.lease_s / 2),  # a lost chunk is found within half a lease
        upkeep_s=min(_settings.clean_s, _settings.usage_s, _settings.sweep_s),
    ),
    beat_schedule_filename="",
)


@setup_logging.connect
def _log(**_: Any) -> None:
    configure_logging(_settings.log_level)


@worker_process_init.connect
def _child_starts(**_: Any) -> None:
    from workers import runtime

    try:
        runtime.start()
    except BaseException:
        # Celery would log this and go on: a child that takes every chunk and can work none.
        log.critical("this worker cannot start", exc_info=True)
        time.sleep(_PAUSE_S)
        os._exit(_EXIT_CANNOT_START)


@worker_shutting_down.connect
def _told_to_stop(**_: Any) -> None:
    drain.begin(_settings.database_url, _settings.worker_name, _settings.drain_s)


@worker_process_shutdown.connect
def _child_stops(**_: Any) -> None:
    from workers import runtime

    runtime.stop()


@beat_embedded_init.connect
def _clock_starts(**_: Any) -> None:
    set_pdeathsig("SIGKILL")  # as Celery does for its pool: the clock does not outlive a killed worker


@worker_ready.connect
def _solo_starts(sender: Any, **_: Any) -> None:
    # Beat's own worker has no children. Its clock is forked by now: beside our threads it might begin with a lock held.
    if sender.controller.pool_cls.__module__.endswith("solo"):
        _child_starts()


@worker_shutdown.connect
def _solo_stops(sender: Any, **_: Any) -> None:
    if sender.pool_cls.__module__.endswith("solo"):
        _child_stops()
