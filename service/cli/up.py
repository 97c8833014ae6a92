"""`scribelane up`: the whole service on one machine, from servers to workers, until Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import structlog

from core.errors import Misconfigured
from core.lanes import INFERENCE_QUEUES, Tier
from core.settings import settings
from service import processes
from service.cli.settings_of_client import KEY_FILE, URL_FILE
from service.embedded import private_folder, start_postgres, start_valkey
from service.processes import Command
from service.supervisor import Program, Stopped, Supervisor

if TYPE_CHECKING:
    from core.store.blobs import Blobs
    from core.store.session import Database

log = structlog.get_logger(__name__)

ENVIRONMENT_FILE = "environment.json"
LOCAL_ACCOUNT = "local"
HOST = "127.0.0.1"

_READY_S = 300.0
_HAND_BACK_S = 15.0
"""A worker that is out of time gives its chunk back in this, before it is killed."""
_TEND_S = 0.5
_BACKGROUND = 5
"""Niceness of what infers, so that the API and search stay quick on a machine that is fully busy."""

_BEHIND = 10
"""And of what opens inputs: a long recording that is still being cut does not hold up its own first segment."""


def run(data_dir: Path, port: int) -> None:
    """Start everything, print `ready`, and tend it until told to stop. Raises `Misconfigured`."""
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{data_dir} cannot be made: {error.strerror}.") from error
    with only_one(data_dir):
        # As root, PostgreSQL runs as another user and passes through `data_dir`; nobody has to see into these.
        for name in ("blobs", "logs", "valkey"):
            private_folder(data_dir / name)
        supervisor = Supervisor(data_dir / "logs")
        with _stopping_on_signals(supervisor):
            _run_until_stopped(supervisor, data_dir, port)


def _run_until_stopped(supervisor: Supervisor, data_dir: Path, port: int) -> None:
    try:
        _start(supervisor, data_dir, port)
        while True:
            time.sleep(_TEND_S)
            supervisor.tend()
    except Stopped:
        log.info("stopping; a chunk in work is finished first")
    finally:
        _stop(supervisor, data_dir)


def _start(supervisor: Supervisor, data_dir: Path, port: int) -> None:
    _check_port(port)
    environment = _servers(supervisor, data_dir)
    os.environ.update(environment)
    _prepare_database(data_dir)
    url = f"http://{HOST}:{port}"
    _write_private(data_dir / ENVIRONMENT_FILE, json.dumps(environment))
    _write_private(data_dir / URL_FILE, url)
    # What a person waits for comes up first; a model loads for seconds and is needed last.
    _run(supervisor, "api", processes.api(HOST, port))
    _run(supervisor, "beat", processes.beat())
    _run(supervisor, "query", processes.query_worker())
    _run(supervisor, "io", processes.io_worker(), niceness=_BEHIND)
    for device in _devices():
        command = processes.inference_worker(device, INFERENCE_QUEUES, processes.cpu_division())
        _run(supervisor, f"worker-{device.replace(':', '')}", command, niceness=_BACKGROUND)
    _await_ready(supervisor, url)
    print(f"ready {url}", flush=True)


def _run(supervisor: Supervisor, name: str, command: Command, *, niceness: int = 0) -> None:
    grace_s = settings().drain_s + _HAND_BACK_S
    supervisor.start(Program(name, command.argv, command.environment, grace_s=grace_s, niceness=niceness))


def _servers(supervisor: Supervisor, data_dir: Path) -> dict[str, str]:
    """Start the servers that the environment does not name; returns where everything is."""
    given = os.environ
    return {
        "SCRIBELANE_DATABASE_URL": given.get("SCRIBELANE_DATABASE_URL")
        or start_postgres(supervisor, data_dir / "postgres"),
        "SCRIBELANE_BROKER_URL": given.get("SCRIBELANE_BROKER_URL") or start_valkey(supervisor, data_dir / "valkey"),
        "SCRIBELANE_BLOB_URL": given.get("SCRIBELANE_BLOB_URL") or (data_dir / "blobs").as_uri(),
    }


def _prepare_database(data_dir: Path) -> None:
    """Migrate, make the operator's account if it is not there, and leave a key that works for the client commands."""
    from core.erasure import erase_account
    from core.errors import NotFound
    from core.store import accounts, migrations
    from core.store.session import Database

    database = Database(os.environ["SCRIBELANE_DATABASE_URL"], transaction_s=None)
    migrations.upgrade(database)
    blobs = _media_store(database)
    with database.transaction() as connection:
        half_erased = accounts.half_erased(connection, LOCAL_ACCOUNT)
    if half_erased is not None:  # no key would open it
        erase_account(database, blobs, half_erased)
    kept, issued = _kept_key(data_dir), None
    with database.transaction() as connection:
        try:
            account = accounts.by_name(connection, LOCAL_ACCOUNT)
        except NotFound:
            account = accounts.create(connection, LOCAL_ACCOUNT, Tier.ENTERPRISE, operator=True)
        # A key of another database, or of one that was restored, opens nothing.
        if not kept or accounts.by_key(connection, kept) is None:
            issued = accounts.issue_key(connection, account.id)
    if issued:  # only now does the database know it
        _write_private(data_dir / KEY_FILE, issued)
    database.close()


def _media_store(database: Database) -> Blobs:
    """The media store, if it is this database's. Raises `Misconfigured`, `Unavailable`."""
    from obstore.exceptions import BaseError as BlobError

    from core import ownership
    from core.store.blobs import Blobs

    try:
        blobs = Blobs(os.environ["SCRIBELANE_BLOB_URL"])
        ownership.check(database, blobs)
    except (BlobError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise Misconfigured(f"The media store that SCRIBELANE_BLOB_URL names cannot be used. {reason}") from error
    return blobs


def _kept_key(data_dir: Path) -> str:
    try:
        return (data_dir / KEY_FILE).read_text().strip()
    except FileNotFoundError:
        return ""


def _devices() -> list[str]:
    """One inference worker per GPU that this process may use; the CPU where there is none."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [f"cuda:{index}" for index, _ in enumerate(processes.shown_gpus(shown))] or ["cpu"]
    if shutil.which("nvidia-smi") is None:
        return ["cpu"]
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False).stdout
    found = sum(line.startswith("GPU ") for line in listing.splitlines())
    return [f"cuda:{index}" for index in range(found)] or ["cpu"]


def _await_ready(supervisor: Supervisor, url: str) -> None:
    until = time.monotonic() + _READY_S
    while missing := _missing(url):
        if time.monotonic() > until:
            raise Misconfigured(f"Not ready: {'; '.join(missing)}. The logs are in {supervisor.log_of('api').parent}.")
        supervisor.tend()
        time.sleep(_TEND_S)


def _missing(url: str) -> list[str]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy reaches this machine itself
    try:
        with direct.open(f"{url}/readyz", timeout=10):
            return []
    except urllib.error.HTTPError as error:
        return [str(line) for line in json.load(error).get("missing", [])] or ["the API fails"]
    except (OSError, ValueError):
        return ["the API does not answer"]


def _stop(supervisor: Supervisor, data_dir: Path) -> None:
    """First nothing new comes in, then the workers drain together, then the servers go."""
    workers = [name for name in supervisor.names() if name not in ("postgres", "valkey", "api")]
    supervisor.stop("api")
    supervisor.stop(*workers)
    supervisor.stop("valkey", "postgres")
    for name in (ENVIRONMENT_FILE, URL_FILE):
        (data_dir / name).unlink(missing_ok=True)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Misconfigured(f"Port {port} is in use; choose another with --port.") from error


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it however this process ends."""
    with (data_dir / "up.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Misconfigured(f"`scribelane up` is already running on {data_dir}.") from error
        yield


@contextmanager
def _stopping_on_signals(supervisor: Supervisor) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop it in order, however often they come."""

    def stop(number: int, frame: FrameType | None) -> None:
        supervisor.ask_to_stop()

    before = {which: signal.signal(which, stop) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _write_private(path: Path, content: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content + "\n")
    draft.replace(path)
