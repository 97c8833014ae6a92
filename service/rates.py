"""Requests per minute and account: a moving window in Valkey, asked once for every authenticated call.

`service.deps` asks after it knows the account; `RateHeaders` tells every answer of such a call how the account stands.
If Valkey does not answer, requests pass uncounted and a metric counts them: a limit protects the service, it must not
be what takes it down.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import redis
import structlog
from limits import RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import RateLimited
from service.metrics import RATE_LIMIT_UNCHECKED

log = structlog.get_logger(__name__)

PAUSE_S = 5.0
"""How long Valkey is left alone after it did not answer."""

_TIMEOUT_S = 0.5
_KEY_PREFIX = "scribelane.rates"
_STATE = "rate_standing"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account stands after a request: of `limit` in any 60 s, `remaining`, and more again in `reset_s`."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int

    def refusal(self) -> RateLimited:
        """What to tell a client that asks too often."""
        return RateLimited(
            f"This account's tier allows {self.limit} requests a minute, and they are used up; "
            f"wait {self.reset_s} s, and then ask less often.",
            retry_after_s=self.reset_s,
        )


class Rates:
    """Counts requests in the broker's Valkey. Safe to use from many threads."""

    def __init__(self, broker_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Opens no connection yet. `clock` gives seconds and measures the pauses."""
        pool = redis.ConnectionPool.from_url(
            broker_url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            # Once more at once for a connection that died with a restarted server, never for one that hangs.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        storage = RedisStorage(broker_url, connection_pool=pool, key_prefix=_KEY_PREFIX)
        self._window = MovingWindowRateLimiter(storage)
        self._pool = pool
        self._clock = clock
        self._lock = threading.Lock()
        self._ask_again_at: float | None = None

    def take(self, account_id: UUID, per_minute: int) -> Standing | None:
        """Count one request of an account; None if it cannot be counted now and simply passes."""
        if not self._may_ask():
            RATE_LIMIT_UNCHECKED.inc()
            return None
        try:
            standing = self._ask(str(account_id), RateLimitItemPerMinute(per_minute))
        except (RedisError, OSError) as error:
            RATE_LIMIT_UNCHECKED.inc()
            self._leave_alone(error)
            return None
        self._ask_again_at = None
        return standing

    def close(self) -> None:
        """Close every connection."""
        self._pool.disconnect()

    def _ask(self, account: str, limit: RateLimitItemPerMinute) -> Standing:
        allowed = self._window.hit(limit, account)
        window = self._window.get_window_stats(limit, account)
        # Both were written and read by clocks of API machines, so no header relies on them to the second.
        reset_s = min(max(math.ceil(window.reset_time - time.time()), 1), limit.get_expiry())
        return Standing(allowed, limit.amount, max(window.remaining, 0) if allowed else 0, reset_s)

    def _may_ask(self) -> bool:
        """Not while Valkey is left alone; after that one request looks whether it is back, and the others pass."""
        with self._lock:
            if self._ask_again_at is None:
                return True
            if self._clock() < self._ask_again_at:
                return False
            self._ask_again_at = self._clock() + PAUSE_S
            return True

    def _leave_alone(self, error: Exception) -> None:
        with self._lock:
            if self._ask_again_at is None:
                log.warning("requests pass uncounted: the broker does not answer", error=str(error))
            self._ask_again_at = self._clock() + PAUSE_S


def remember(scope: Scope, standing: Standing) -> None:
    """Leave a standing where `RateHeaders` finds it when the answer goes out."""
    scope["state"][_STATE] = standing


def headers_of(scope: Scope) -> dict[str, str]:
    """The `RateLimit-*` fields of the answer to a request; none for one that was not counted."""
    standing: Standing | None = scope.get("state", {}).get(_STATE)
    if standing is None:
        return {}
    return {
        "RateLimit-Limit": str(standing.limit),
        "RateLimit-Remaining": str(standing.remaining),
        "RateLimit-Reset": str(standing.reset_s),
    }


class RateHeaders:
    """ASGI middleware: `RateLimit-Limit`, `-Remaining` and `-Reset` (seconds) on every answer to a counted request.

    The three fields of draft-ietf-httpapi-ratelimit-headers up to 05, which clients know best. Here and not in the
    routes, because a refusal and an answer that a route made itself carry them too. Starlette answers an unexpected
    error outside of every middleware; `service.problems` adds the fields to that one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers_of(scope))
            await send(message)

        await self._app(scope, receive, told)
