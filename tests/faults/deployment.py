"""A whole deployment of real servers and processes, each of which can be killed, stopped or cut off by itself.

Unlike `scribelane up`, nothing here belongs to one program: a supervisor starts again whatever dies, as an orchestrator
does. Every process reaches PostgreSQL and Valkey through a proxy, so that a connection can go dead without a word.
"""

from __future__ import annotations

import os
import signal
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from core.lanes import INFERENCE_QUEUES, Tier
from core.store import accounts, migrations
from core.store.session import Database
from service import processes
from service.client import Client
from service.embedded import free_port, start_postgres, start_valkey
from service.processes import Command
from service.supervisor import Program, Supervisor
from tests.faults.books import AUDIT
from tests.faults.proxy import Proxy
from tests.waiting import until

SHORT = {
    "SCRIBELANE_LEASE_S": "6",
    "SCRIBELANE_HEARTBEAT_S": "1",
    "SCRIBELANE_DISPATCH_S": "1",
    "SCRIBELANE_RESCUE_S": "1",
    "SCRIBELANE_CLEAN_S": "1",
    "SCRIBELANE_REDISPATCH_S": "4",
    "SCRIBELANE_DRAIN_S": "20",
}
"""Periods under which a recovery is seen in seconds. The defaults are ten times as long."""

QUICK_WORK = {
    "SCRIBELANE_CHUNK_AUDIO_S": "30",
    "SCRIBELANE_CHUNK_TARGET_S": "0.5",
    "SCRIBELANE_FAKE_SPEED": "40",
    "SCRIBELANE_EMBEDDING_MODEL": "fake",
    "SCRIBELANE_HUB_DOWNLOAD": "false",
}
"""Chunks of about a second, of engines that need no weights."""

RECORDING = Path(__file__).parents[2] / "examples" / "tides.ogg"

INFERENCE = "worker-0"
SECOND = "worker-1"


@dataclass
class Deployment:
    """The processes by name: `postgres`, `valkey`, `api`, `beat`, `io`, `worker-0`, …"""

    folder: Path
    url: str
    key: str
    environment: Mapping[str, str]
    database_url: str
    """Past the proxy."""
    to_postgres: Proxy
    to_valkey: Proxy
    supervisor: Supervisor
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _commands: dict[str, Command] = field(default_factory=dict)

    def client(self) -> Client:
        return Client(self.url, self.key)

    @property
    def blob_folder(self) -> Path:
        return self.folder / "blobs"

    def start(self, name: str, command: Command) -> None:
        with self._lock:
            self._commands[name] = command
            environment = {**self.environment, **command.environment}
            self.supervisor.start(Program(name, command.argv, environment, grace_s=120))

    def start_again(self, name: str) -> None:
        """A program that was taken away."""
        self.start(name, self._commands[name])

    def tend(self) -> None:
        with self._lock:
            self.supervisor.tend()

    def pid(self, name: str) -> int:
        with self._lock:
            return self.supervisor.pid(name)

    def children(self, name: str) -> list[int]:
        """The processes that work for a worker, without Python's resource tracker."""
        return [pid for pid in _children_of(self.pid(name)) if b"spawn_main" in _command_line(pid)]

    def signal(self, which: signal.Signals, *pids: int) -> None:
        for pid in pids:
            os.kill(pid, which)

    def kill(self, name: str) -> None:
        """The whole process; its supervisor starts it again."""
        self.signal(signal.SIGKILL, self.pid(name))

    def kill_children(self, name: str) -> None:
        self.signal(signal.SIGKILL, *self.children(name))

    def lose(self, name: str) -> None:
        """As if its machine were gone: killed, and not started again."""
        with self._lock:
            self.kill(name)
            self.supervisor.stop(name)

    def stop(self, *names: str) -> None:
        """End them as an orchestrator does, with a signal and time to follow it."""
        with self._lock:
            self.supervisor.stop(*names)

    def stop_postgres(self) -> None:
        self.stop("postgres")

    def start_postgres(self) -> None:
        with self._lock:
            start_postgres(self.supervisor, self.folder / "postgres")

    def worker_id(self, name: str) -> str:
        return self._commands[name].environment["SCRIBELANE_WORKER_ID"]

    def await_workers(self, *names: str) -> None:
        """Wait until each of these reports from a process that lives now."""

        def here() -> bool:
            with self.database() as database, database.transaction() as connection:
                found = connection.exec_driver_sql("SELECT id, pid FROM workers").all()
            alive = {row.id.rpartition("/")[0] for row in found if Path(f"/proc/{row.pid}").exists()}
            return all(self.worker_id(name) in alive for name in names)

        until(here, within_s=120, every_s=0.1)

    @contextmanager
    def database(self) -> Iterator[Database]:
        database = Database(self.database_url, pool_size=2, transaction_s=None)
        try:
            yield database
        finally:
            database.close()


@contextmanager
def deployment(
    folder: Path, settings: Mapping[str, str] | None = None, supervised: Callable[[Path], Supervisor] = Supervisor
) -> Iterator[Deployment]:
    """Everything with one inference worker, ready to work."""
    supervisor = supervised(folder / "logs")
    (folder / "blobs").mkdir()
    database_url = start_postgres(supervisor, folder / "postgres")
    valkey_url = urllib.parse.urlsplit(start_valkey(supervisor, folder / "valkey"))
    to_postgres = Proxy(_socket_of(database_url))
    to_valkey = Proxy(("127.0.0.1", valkey_url.port or 0))
    key = _prepare(database_url)
    environment = {
        **SHORT,
        **QUICK_WORK,
        "SCRIBELANE_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{to_postgres.port}/postgres",
        "SCRIBELANE_BROKER_URL": f"redis://:{valkey_url.password}@127.0.0.1:{to_valkey.port}/0",
        "SCRIBELANE_BLOB_URL": (folder / "blobs").as_uri(),
        **(settings or {}),
    }
    port = free_port()
    whole = Deployment(
        folder, f"http://127.0.0.1:{port}", key, environment, database_url, to_postgres, to_valkey, supervisor
    )
    stopping = threading.Event()
    tending = threading.Thread(target=_tend, args=(whole, stopping), daemon=True)
    try:
        whole.start("api", processes.api("127.0.0.1", port))
        whole.start("beat", processes.beat())
        whole.start("io", processes.io_worker())
        whole.start(INFERENCE, processes.inference_worker("cpu", INFERENCE_QUEUES))
        tending.start()
        whole.await_workers("beat", "io", INFERENCE)
        yield whole
    finally:
        stopping.set()
        if tending.ident:
            tending.join()
        for name in reversed(supervisor.names()):
            if name not in ("postgres", "valkey"):
                whole.signal(signal.SIGKILL, supervisor.pid(name)) if not supervisor.exited(name) else None
        supervisor.stop()
        to_postgres.close()
        to_valkey.close()


def submit(client: Client) -> UUID:
    """The sample recording, for the fake engine."""
    return UUID(client.transcribe(RECORDING, {"model": "fake"}, force=True).id)


def _tend(whole: Deployment, stopping: threading.Event) -> None:
    while not stopping.wait(0.2):
        whole.tend()


def _prepare(database_url: str) -> str:
    database = Database(database_url, transaction_s=None)
    migrations.upgrade(database)
    with database.transaction() as connection:
        account = accounts.create(connection, "ada", Tier.ENTERPRISE, operator=True)
        key = accounts.issue_key(connection, account.id)
        connection.exec_driver_sql(AUDIT)
    database.close()
    return key


def _socket_of(database_url: str) -> str:
    folder = urllib.parse.parse_qs(urllib.parse.urlsplit(database_url).query)["host"][0]
    return f"{folder}/.s.PGSQL.5432"


def _children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
