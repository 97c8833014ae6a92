"""An input is fetched by a process that has the network and nothing else, and it is taken from it with care."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.errors import (
    AddressRefused,
    ChunkTimeout,
    DownloadBlocked,
    DownloadFailed,
    FileUnavailable,
    Internal,
    LeaseLost,
    MediaTooLarge,
    StoreUnavailable,
)
from core.links import DirectLink, UrlHosts, VideoLink
from tests.listening import Answering, Reply, Site, site, trap
from tests.waiting import until
from workers.inputs import fetching, javascript
from workers.inputs.fetched import FetchLimits
from workers.inputs.fetching import fetch
from workers.inputs.orders import FetchOptions, Order

BODY = os.urandom(1_000_000)


def order(found: Site, folder: Path, max_bytes: int = 2_000_000, total_s: float = 60) -> Order:
    options = FetchOptions(UrlHosts(private=frozenset({found.address})), total_s=total_s, direct_retries=0)
    return Order(DirectLink(f"{found.url}/talk.mp3"), folder, FetchLimits(max_bytes, 60), options)


def nothing(*_: object) -> None:
    """No progress is looked at."""


def test_a_file_is_fetched_into_the_folder(tmp_path: Path) -> None:
    seen = []
    with site(lambda path, headers: Reply(body=BODY)) as found:
        fetched = fetch(order(found, tmp_path), lambda there, total: seen.append(total))

    assert fetched.path.parent == tmp_path
    assert fetched.path.read_bytes() == BODY
    assert fetched.name == "talk.mp3"
    assert set(seen) == {len(BODY)}


def redirect(there: str) -> Answering:
    return lambda path, headers: Reply(302, headers={"Location": there})


def test_a_refused_address_is_told_and_never_reached(tmp_path: Path) -> None:
    with trap() as private, site(redirect(f"http://127.0.0.1:{private.port}/")) as found:
        with pytest.raises(AddressRefused):
            fetch(order(found, tmp_path), nothing)
        assert private.visitors() == 0


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(404), FileUnavailable),
        (Reply(503), DownloadFailed),
        (Reply(body=BODY, breaks_after=1000), DownloadFailed),
        (Reply(body=bytes(3_000_000)), MediaTooLarge),
    ],
)
def test_errors_come_by_their_code(tmp_path: Path, reply: Reply, error: type[Exception]) -> None:
    with site(lambda path, headers: reply) as found, pytest.raises(error):
        fetch(order(found, tmp_path), nothing)


def test_a_disk_without_room_is_no_fault_of_the_file(small_disk: Path) -> None:
    with site(lambda path, headers: Reply(body=BODY)) as found, pytest.raises(StoreUnavailable):
        fetch(order(found, small_disk), nothing)


def test_a_file_that_fills_the_disk_is_charged_and_leaves_the_others_some(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_ROOM_BYTES", 0)
    with site(lambda path, headers: Reply(body=BODY)) as found, pytest.raises(Internal, match="no room for a file"):
        fetch(order(found, small_disk), nothing)


def test_a_download_that_fails_on_a_full_disk_is_no_fault_of_who_sends_it(small_disk: Path) -> None:
    with site(lambda path, headers: Reply(503)) as found, pytest.raises(StoreUnavailable):
        fetch(order(found, small_disk), nothing)


def test_a_download_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    slow = Reply(body=b"x", headers={"Content-Length": "9"}, holds=True)
    with site(lambda path, headers: slow) as found, pytest.raises(ChunkTimeout, match="Fetching the input took longer"):
        fetch(order(found, tmp_path, total_s=1), nothing)


def test_a_process_does_not_outlive_who_waits_for_it(tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise LeaseLost()

    before = children()
    with site(lambda path, headers: Reply(body=BODY, headers={"Content-Length": "2000000"}, holds=True)) as found:
        with pytest.raises(LeaseLost):
            fetch(order(found, tmp_path), stop)
        until(lambda: children() == before, 10)


def test_who_waits_for_a_silent_server_may_stop(tmp_path: Path) -> None:
    def stop() -> None:
        raise LeaseLost()

    before = children()
    with site(lambda path, headers: Reply(headers={"Content-Length": "9"}, holds=True)) as found:
        with pytest.raises(LeaseLost):
            fetch(order(found, tmp_path), nothing, stop)
        until(lambda: children() == before, 10)


def test_a_video_is_asked_for_through_the_proxy_and_by_no_other_way(tmp_path: Path) -> None:
    with site(lambda path, headers: Reply(502)) as proxy:
        options = FetchOptions(UrlHosts(), proxy=proxy.url, retries=0)
        with pytest.raises(DownloadFailed):
            fetch(Order(VideoLink("abc_DEF-123"), tmp_path, FetchLimits(1000, 60), options), nothing)

    assert {path for path, _ in proxy.requests} == {"www.youtube.com:443"}


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"\xff", "no text"), (b"SID=secret\n", "not in Netscape's format")],
)
def test_cookies_that_cannot_be_read_are_told_to_the_operator(tmp_path: Path, content: bytes | None, why: str) -> None:
    folder, cookies = tmp_path / "own", tmp_path / "cookies.txt"
    folder.mkdir()
    if content is not None:
        cookies.write_bytes(content)
    options = FetchOptions(UrlHosts(), cookies_file=cookies)

    with capture_logs() as logs, pytest.raises(DownloadBlocked, match="its operator must export it anew"):
        fetch(Order(VideoLink("abc_DEF-123"), folder, FetchLimits(1000, 60), options), nothing)

    (note,) = [one for one in logs if one["log_level"] == "error"]
    assert "SCRIBELANE_YOUTUBE_COOKIES_FILE" in note["note"]
    assert why in note["note"]
    assert "secret" not in str(logs)


def test_what_yt_dlp_warns_of_reaches_the_log_without_the_proxys_password(tmp_path: Path) -> None:
    with site(lambda path, headers: Reply(502)) as proxy:
        secret = proxy.url.replace("//", "//me:secret@")
        order = Order(
            VideoLink("abc_DEF-123"), tmp_path, FetchLimits(1000, 60), FetchOptions(UrlHosts(), secret, retries=0)
        )
        with capture_logs() as logs, pytest.raises(DownloadFailed):
            fetch(order, nothing)

    notes = [one["note"] for one in logs if "note" in one]
    assert any("yt-dlp" in note and "502" in note for note in notes)
    assert "secret" not in str(logs)


def children() -> set[str]:
    """The processes that this one has started."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


CONFINED = """
import os, pathlib, socket, subprocess, sys
from workers.inputs.confinement import Bounds, Online, Reach, confine
folder, runtime = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
own = folder / "own"
reach = Reach(own, own, online=Online((runtime,)))
assert confine(Bounds(memory_bytes=2 * 2**30, cpu_s=20, file_bytes=100000), reach) == []
"""
REFUSED = {
    "read a neighbour's file": "open(folder / 'secret')",
    "read the worker's passwords": "open(f'/proc/{os.getppid()}/environ')",
    "read the machine's accounts": "open('/etc/shadow')",
    "write beside its folder": "open(folder / 'new', 'w')",
    "remove a neighbour's file": "os.remove(folder / 'secret')",
    "start another program": "subprocess.run(['/bin/true'])",
    "write a long file": "(own / 'file').write_bytes(bytes(100001))",
    "take more memory": "bytearray(3 * 2**30)",
    "end another process": "os.kill(os.getppid(), 0)",
    "open a neighbour's file to everybody": "os.chmod(folder / 'secret', 0o666)",
    "leave a link": "os.symlink(folder / 'secret', own / 'input')",
}

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="confined on Linux alone")


def run_confined(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "secret").write_text("of a neighbour")
    (folder / "own").mkdir()
    runtime = javascript.runtime()
    argv = [sys.executable, "-c", CONFINED + code, str(folder), str(runtime)]
    home = {"HOME": str(folder / "own"), "DENO_DIR": str(folder / "own" / ".deno")}
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **home})


@on_linux
@pytest.mark.parametrize("attempt", REFUSED)
def test_who_fetches_is_refused_everything_else(tmp_path: Path, attempt: str) -> None:
    done = run_confined(REFUSED[attempt], tmp_path)

    assert done.returncode == 1
    assert any(word in done.stderr for word in ("PermissionError", "MemoryError", "File too large"))


@on_linux
def test_who_fetches_still_has_the_network_and_its_folder(tmp_path: Path) -> None:
    code = """
socket.getaddrinfo("localhost", 80)
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
(own / "part").write_text("x")
(own / "part").rename(own / "whole")
(own / "cache").mkdir()
(own / "cache").rmdir()
os.remove(own / "whole")
import ssl; ssl.create_default_context()
"""
    done = run_confined(code, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


@on_linux
def test_the_runtime_of_javascript_runs_where_videos_are_fetched(tmp_path: Path) -> None:
    code = """
argv = [str(runtime), "run", "--no-prompt", "--no-remote", "--no-lock", "--node-modules-dir=none", "--no-config", "-"]
done = subprocess.run(argv, input=b"console.log(6 * 7)", capture_output=True)
sys.exit(0 if done.stdout == b"42\\n" else done.stderr.decode() or str(done.returncode))
"""
    done = run_confined(code, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
