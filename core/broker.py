"""The one description of Celery: queues, delivery and time limits.

The API and Beat publish with it, the workers consume with it. PostgreSQL decides what is to be done
(`docs/decisions/0001-postgresql-decides.md`); a message only says "look at chunk N", so losing one or
delivering it twice is harmless. `docs/architecture.md` says what each value was measured against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from core.errors import Misconfigured
from core.lanes import CONTROL_QUEUE, INFERENCE_QUEUES, IO_QUEUES, QUERY_QUEUE
from core.settings import VISIBILITY_TIMEOUT_S

EMBED_QUERY = "embed_query"
"""A task with a result: the vector of a search query."""

RERANK = "rerank"
"""The other one: how well each of some passages answers a query."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Of a task, in seconds."""

    soft_s: int = 540
    hard_s: int = 600


def make_celery(broker_url: str, limits: TimeLimits | None = None) -> Celery:
    """A Celery application on `broker_url`; it opens no connection yet. Raises `Misconfigured`."""
    if not broker_url:
        raise Misconfigured("SCRIBELANE_BROKER_URL is not set; `scribelane up` brings a broker of its own.")
    app = Celery("scribelane", broker=broker_url, backend=broker_url, set_as_current=False)
    app.conf.update(_delivery(), **_worker(limits or TimeLimits()))
    return app


def _queue(name: str) -> Queue:
    # The default exchange routes by queue name alone, so no binding table can be lost with a FLUSHALL.
    return Queue(name, Exchange("", type="direct"), routing_key=name)


def _delivery() -> dict[str, Any]:
    """How messages travel; each value was tried on Valkey 9."""
    socket = {
        # With the client's defaults a half-open connection hung for over 200 s.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
    return {
        "task_queues": [_queue(name) for name in (*INFERENCE_QUEUES, *IO_QUEUES, QUERY_QUEUE, CONTROL_QUEUE)],
        "task_default_queue": CONTROL_QUEUE,
        "task_default_exchange": "",
        "task_default_routing_key": CONTROL_QUEUE,
        "task_create_missing_queues": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            **socket,
            "queue_order_strategy": "priority",  # strict order of the `-Q` list: express first
            "priority_steps": [0],  # one list per queue, so LLEN is the queue's length
            "visibility_timeout": VISIBILITY_TIMEOUT_S,  # above the hard time limit
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        },
        "redis_socket_timeout": socket["socket_timeout"],
        "redis_socket_connect_timeout": socket["socket_connect_timeout"],
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": socket["health_check_interval"],
        "result_backend_transport_options": {
            "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2},
        },
        "result_expires": 60,
        "task_ignore_result": True,
        "accept_content": ["json"],
    }


def _worker(limits: TimeLimits) -> dict[str, Any]:
    """How workers take messages. Celery never retries: PostgreSQL is the one retry authority."""
    return {
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "task_reject_on_worker_lost": False,
        "task_soft_time_limit": limits.soft_s,
        "task_time_limit": limits.hard_s,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # CUDA and CTranslate2 do not survive a fork; a child that dies is replaced by its parent.
        "worker_pool": "prefork",
        "worker_pool_start_method": "spawn",
        "worker_proc_alive_timeout": 120.0,  # a query worker loads its model before it takes a query
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "beat_max_loop_interval": 1,
    }
