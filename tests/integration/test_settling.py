"""A worker whose connection to the broker went dead takes messages again."""

from __future__ import annotations

import urllib.parse

import pytest
from kombu import Connection
from redis.exceptions import RedisError

from tests.faults.proxy import Proxy
from workers import settling


def test_a_message_that_cannot_be_acknowledged_does_not_count_for_ever(broker_url: str) -> None:
    settling.install()
    valkey = urllib.parse.urlsplit(broker_url)
    proxy = Proxy(("127.0.0.1", valkey.port or 0))
    url = f"redis://:{valkey.password}@127.0.0.1:{proxy.port}/0"
    try:
        with Connection(url, transport_options={"socket_timeout": 1}) as connection:
            channel = connection.channel()
            channel.basic_qos(0, 1, False)
            channel.queue_declare("once")
            channel.basic_publish(channel.prepare_message("{}"), "", "once")
            message = channel.basic_get("once")
            assert not channel.qos.can_consume()
            proxy.go_dead()
            with pytest.raises(RedisError):
                message.ack()
            assert channel.qos.can_consume()
    finally:
        proxy.close()
