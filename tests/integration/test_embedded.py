"""The embedded servers are real ones: durable, private, and back after a crash."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest
import redis

from service.embedded import _await, start_postgres, start_valkey
from service.supervisor import Stopped, Supervisor
from tests.waiting import until


@contextmanager
def supervised(folder: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(folder / "logs")
    try:
        yield supervisor
    finally:
        supervisor.stop()


def notes(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM notes")]


def test_postgres_keeps_its_rows_through_a_stop_and_a_start(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor, psycopg.connect(start_postgres(supervisor, tmp_path / "pg")) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 'kept' AS text")

    with supervised(tmp_path) as supervisor:
        assert notes(start_postgres(supervisor, tmp_path / "pg")) == ["kept"]


def test_postgres_keeps_its_rows_through_a_kill(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor:
        url = start_postgres(supervisor, tmp_path / "pg")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE notes AS SELECT 'kept' AS text")
        os.kill(supervisor.pid("postgres"), signal.SIGKILL)

        def answers() -> bool:
            supervisor.tend()
            try:
                return notes(url) == ["kept"]
            except psycopg.OperationalError:
                return False

        until(lambda: supervisor.exited("postgres"))
        until(answers)


def test_postgres_is_reached_through_its_folder_alone(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor, psycopg.connect(start_postgres(supervisor, tmp_path / "pg")) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as another user")
def test_a_socket_outside_of_the_folder_is_closed_to_others_too(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor:
        url = start_postgres(supervisor, tmp_path / ("a-long-name" * 10) / "pg")
        sockets = Path(unquote(url.partition("host=")[2]))

        assert not sockets.is_relative_to(tmp_path)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_waiting_for_a_server_ends_when_one_is_told_to_stop(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor:
        supervisor.ask_to_stop()
        with pytest.raises(Stopped):
            _await(supervisor, "postgres", lambda: False)


def test_postgres_brings_vectors_and_ordered_ids(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor, psycopg.connect(start_postgres(supervisor, tmp_path / "pg")) as connection:
        connection.execute("CREATE EXTENSION vector")
        assert connection.execute("SELECT uuidv7() IS NOT NULL").fetchone() == (True,)


def test_valkey_keeps_its_queues_through_a_stop_and_a_start(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor, redis.Redis.from_url(start_valkey(supervisor, tmp_path / "vk")) as client:
        client.lpush("express", "message")

    with supervised(tmp_path) as supervisor, redis.Redis.from_url(start_valkey(supervisor, tmp_path / "vk")) as client:
        assert client.llen("express") == 1


def test_valkey_never_evicts_a_queue(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor, redis.Redis.from_url(start_valkey(supervisor, tmp_path / "vk")) as client:
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("appendonly")["appendonly"] == "yes"


def test_valkey_asks_for_a_password_that_others_cannot_read(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor:
        url = start_valkey(supervisor, tmp_path / "vk")
        anonymous = "redis://" + url.rpartition("@")[2]
        password = url.split(":")[2].partition("@")[0]

        with redis.Redis.from_url(anonymous) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        assert stat.S_IMODE((tmp_path / "vk" / "valkey.conf").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "vk").stat().st_mode) == 0o700
        command_line = Path(f"/proc/{supervisor.pid('valkey')}/cmdline").read_bytes()
        assert password.encode() not in command_line


def test_servers_start_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "data dir [x] 100% ü"
    with supervised(folder) as supervisor:
        assert psycopg.connect(start_postgres(supervisor, folder / "postgres")).execute("SELECT 1").fetchone() == (1,)
        with redis.Redis.from_url(start_valkey(supervisor, folder / "valkey")) as broker:
            assert broker.config_get("appendonly") == {"appendonly": "yes"}
