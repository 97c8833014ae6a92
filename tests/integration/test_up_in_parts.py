"""What `scribelane up` does around its processes: a key that works, folders of its own, an end in order."""

from __future__ import annotations

import os
import signal
import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from core.errors import Conflict, Unavailable
from core.store import accounts
from core.store.session import Database
from service.cli import up
from service.supervisor import Program, Supervisor


def opens(database: Database, folder: Path) -> str | None:
    """The account that the key in the folder opens."""
    with database.transaction() as connection:
        account = accounts.by_key(connection, (folder / "api-key").read_text().strip())
    return account.name if account else None


@pytest.fixture
def prepared(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("SCRIBELANE_DATABASE_URL", database_url)
    monkeypatch.setenv("SCRIBELANE_BLOB_URL", (tmp_path / "blobs").as_uri())
    up._prepare_database(tmp_path)
    return database


def test_the_first_start_leaves_a_key_that_only_its_owner_reads(prepared: Database, tmp_path: Path) -> None:
    assert opens(prepared, tmp_path) == "local"
    assert stat.S_IMODE((tmp_path / "api-key").stat().st_mode) == 0o600


def test_a_key_that_works_is_kept(prepared: Database, tmp_path: Path) -> None:
    before = (tmp_path / "api-key").read_text()
    up._prepare_database(tmp_path)

    assert (tmp_path / "api-key").read_text() == before


@pytest.mark.parametrize("left", ["sl_of-another-database\n", "", "\n"])
def test_a_key_that_the_database_does_not_know_is_replaced(prepared: Database, tmp_path: Path, left: str) -> None:
    (tmp_path / "api-key").write_text(left)
    up._prepare_database(tmp_path)

    assert opens(prepared, tmp_path) == "local"


def test_a_media_store_that_is_not_mounted_is_said_at_once(prepared: Database, tmp_path: Path) -> None:
    (tmp_path / "blobs").rename(tmp_path / "away")

    with pytest.raises(Unavailable, match="is its volume mounted"):
        up._prepare_database(tmp_path)


def test_an_account_whose_erasure_was_broken_off_is_made_anew(prepared: Database, tmp_path: Path) -> None:
    with prepared.transaction() as connection:
        before = accounts.by_name(connection, "local")
        accounts.close(connection, before.id)
    with pytest.raises(Conflict, match="being erased"), prepared.transaction() as connection:
        accounts.issue_key(connection, before.id)

    up._prepare_database(tmp_path)

    assert opens(prepared, tmp_path) == "local"
    with prepared.transaction() as connection:
        assert accounts.by_name(connection, "local").id != before.id


def test_signals_again_and_again_still_end_everything_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Supervisor] = []
    stop, pids = up._stop, []

    def start(supervisor: Supervisor, data_dir: Path, port: int) -> None:
        started.append(supervisor)
        pids.append(supervisor.start(Program("one", ["sleep", "300"])))
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)

    def interrupted_stop(supervisor: Supervisor, data_dir: Path) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        stop(supervisor, data_dir)

    monkeypatch.setattr(up, "_start", start)
    monkeypatch.setattr(up, "_stop", interrupted_stop)
    before = signal.getsignal(signal.SIGINT)
    up.run(tmp_path, 1)

    assert started[0].names() == []
    assert not Path(f"/proc/{pids[0]}").exists()
    assert signal.getsignal(signal.SIGINT) == before


def test_nobody_else_looks_into_what_users_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blobs").mkdir(mode=0o755)  # left by an earlier version
    monkeypatch.setattr(up, "_start", lambda supervisor, *_: supervisor.ask_to_stop())
    up.run(tmp_path, 1)

    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("blobs", "logs", "valkey")}
    assert modes == dict.fromkeys(modes, 0o700)


def test_a_proxy_of_the_environment_does_not_hide_that_the_service_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        missing = up._missing(f"http://127.0.0.1:{server.server_port}")
        answering.join(10)

    assert missing == []
