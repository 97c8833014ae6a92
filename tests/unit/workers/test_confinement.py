"""A confined process has given up what it does not need, and cannot take it back."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="confined on Linux alone")

CONFINED = """
import os, pathlib, socket, sys
from workers.inputs.confinement import Bounds, Reach, confine
folder = pathlib.Path(sys.argv[1])
reach = Reach(folder / "input", folder / "scratch")
assert confine(Bounds(memory_bytes=512 * 2**20, cpu_s=2, file_bytes=1000), reach) == []
"""
ATTEMPTS = {
    "reach a host": ("socket.create_connection(('127.0.0.1', 9), 1)", "PermissionError"),
    "reach a local server": ("socket.socket(socket.AF_UNIX)", "PermissionError"),
    "start a program": ("os.execv('/bin/true', ['true'])", "PermissionError"),
    "start a process": ("os.fork()", "PermissionError"),
    "end another process": ("os.kill(os.getppid(), 9)", "PermissionError"),
    "write into another process": (
        "import ctypes; call = ctypes.CDLL(None, use_errno=True).process_vm_writev; "
        "sys.exit('PermissionError' if call(os.getppid(), None, 0, None, 0, 0) and ctypes.get_errno() == 1 else 0)",
        "PermissionError",
    ),
    "take more memory": ("bytearray(2**30)", "MemoryError"),
    "write a long file": (
        "os.write(os.open(reach.folder / 'file', os.O_CREAT | os.O_WRONLY), bytes(1000)) and "
        "open(reach.folder / 'file', 'ab', buffering=0).write(b'x')",
        "File too large",
    ),
    "open file after file": ("[open(os.__file__) for _ in range(100)]", "Too many open files"),
    "read a neighbour's file": ("open(folder / 'secret')", "PermissionError"),
    "list the neighbours": ("os.listdir(folder)", "PermissionError"),
    "read the worker's memory": ("open(f'/proc/{os.getppid()}/mem', 'rb')", "PermissionError"),
    "write the worker's memory": ("os.open(f'/proc/{os.getppid()}/mem', os.O_WRONLY)", "PermissionError"),
    "read the worker's passwords": ("open(f'/proc/{os.getppid()}/environ')", "PermissionError"),
    "change its input": ("open(reach.source, 'a')", "PermissionError"),
    "write beside its folder": ("open(folder / 'new', 'w')", "PermissionError"),
    "shorten a neighbour's file": ("os.truncate(folder / 'secret', 0)", "PermissionError"),
    "make a neighbour's file look old": ("os.utime(folder / 'secret', (0, 0))", "PermissionError"),
    "open a neighbour's file to others": ("os.chmod(folder / 'secret', 0o666)", "PermissionError"),
    "remove a neighbour's file": ("os.remove(folder / 'secret')", "PermissionError"),
    "leave a link to a neighbour's file": ("os.symlink(folder / 'secret', reach.folder / 'result')", "PermissionError"),
    "leave the neighbour's file itself": ("os.link(folder / 'secret', reach.folder / 'result')", "Error"),
    "leave a pipe": ("os.mkfifo(reach.folder / 'result')", "PermissionError"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "input").write_text("sent")
    (tmp_path / "secret").write_text("of a neighbour")
    (tmp_path / "scratch").mkdir()
    return tmp_path


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CONFINED + code, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_was_given_up_is_refused(folder: Path, attempt: str) -> None:
    code, refusal = ATTEMPTS[attempt]

    done = run(code, folder)

    assert done.returncode == 1
    assert refusal in done.stderr.splitlines()[-1]


def test_what_is_refused_could_be_done_before(folder: Path) -> None:
    """Else the refusals would show nothing of the confinement."""
    for attempt in ("read a neighbour's file", "list the neighbours", "read the worker's passwords", "leave a pipe"):
        prologue = CONFINED.partition("assert")[0]
        done = subprocess.run([sys.executable, "-c", prologue + ATTEMPTS[attempt][0], str(folder)], check=False)

        assert done.returncode == 0, attempt


def test_processor_time_ends_with_a_signal_that_tells_it(folder: Path) -> None:
    assert run("while True: pass", folder).returncode == -signal.SIGXCPU


def test_what_opening_needs_it_still_can(folder: Path) -> None:
    code = """
import threading
threading.Thread(target=lambda: (reach.folder / "result").write_text(reach.source.read_text())).start()
import workers.inputs.pdf, workers.inputs.audio, models.vad
"""
    done = run(code, folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "scratch" / "result").read_text() == "sent"
