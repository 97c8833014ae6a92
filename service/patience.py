"""How a client asks again: until a job has ended, and where the connection broke off. Its errors stand here, too.

`service.client` sends; this decides whether, and when, it sends once more. A refusal is final.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

POLL_S = 0.5
AWAY_RETRIES_S = 60.0
_AWAY = frozenset({"unreachable", "unavailable"})
_LONGEST_PAUSE_S = 8.0


class ClientError(Exception):
    """The service refused, or did not answer. `code` is the service's stable code, or `unreachable`.

    `retry_after_s` is what the service asks to wait before the same call, 0 if it says nothing.
    """

    def __init__(self, code: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class BrokeOff(ClientError):
    """The connection ended in between: the request may have arrived, or not."""


class _Ends(Protocol):
    @property
    def ended(self) -> bool: ...


Ending = TypeVar("Ending", bound=_Ends)


def polled(ask: Callable[[], Ending], on_change: Callable[[Ending], None]) -> Ending:
    """Ask until it has ended, for up to `AWAY_RETRIES_S` without an answer."""
    last_answer = time.monotonic()
    while True:
        pause_s = POLL_S
        try:
            found = ask()
            last_answer = time.monotonic()
            on_change(found)
            if found.ended:
                return found
        except ClientError as error:
            if error.code == "rate_limited":
                last_answer = time.monotonic()  # it is not away
            elif error.code not in _AWAY or time.monotonic() - last_answer > AWAY_RETRIES_S:
                raise
            pause_s = max(pause_s, error.retry_after_s)
        time.sleep(pause_s)


def sent_through_breaks(send: Callable[[], Any]) -> Any:
    """Send a submit; if the connection breaks off, send it again until it is answered.

    Given up when the pauses come to `AWAY_RETRIES_S`. How long sending takes does not count: a long upload may break
    off late and more than once. The pauses grow, so that it is sent a dozen times at most.
    """
    broke_off = False
    pause_s, paused_s = POLL_S, 0.0
    while True:
        try:
            return send()
        except ClientError as error:
            broke_off = broke_off or isinstance(error, BrokeOff)
            # A service that is just gone, or that has not noticed yet that the first connection broke.
            away = error.code in {*_AWAY, "idempotency_in_flight"} and paused_s < AWAY_RETRIES_S
            if not broke_off or not (away or error.code == "rate_limited"):
                raise
            wait_s = max(pause_s, error.retry_after_s)
            if away:
                pause_s, paused_s = min(pause_s * 2, _LONGEST_PAUSE_S), paused_s + wait_s
        time.sleep(wait_s)
