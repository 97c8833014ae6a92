"""A message whose acknowledgement cannot be sent is settled all the same, so that its worker goes on consuming.

kombu (5.7, `transport/redis.py`) counts a message against the prefetch limit until its acknowledgement has been written
to the server. If that fails, on a connection that went dead, the message is counted for ever: a worker with a limit of
one never takes another message, while its heartbeat says that it lives. `tests/faults` found it. Here the count goes
down in any case; the server keeps the message and delivers it again, which the claim makes harmless.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual


class SettlingQoS(redis.QoS):  # type: ignore[misc]
    """kombu's, but for what happens when the server cannot be told."""

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge; what the connection raises comes through, and Celery logs it."""
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


def install() -> None:
    """For every connection to a broker that this process opens from now on."""
    redis.Channel.QoS = SettlingQoS
