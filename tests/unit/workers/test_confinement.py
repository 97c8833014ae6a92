"""A confined process has given up what it does not need, and cannot take it back."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="confined on Linux alone")

CONFINED = """
import os, socket, sys
from workers.inputs.confinement import Bounds, confine
assert confine(Bounds(memory_bytes=512 * 2**20, cpu_s=2, file_bytes=1000)) == []
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
        "os.write(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), bytes(1000)) and "
        "open(sys.argv[1], 'ab', buffering=0).write(b'x')",
        "File too large",
    ),
    "open file after file": ("[open('/dev/null') for _ in range(100)]", "Too many open files"),
}


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CONFINED + code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_was_given_up_is_refused(tmp_path: Path, attempt: str) -> None:
    code, refusal = ATTEMPTS[attempt]

    done = run(code, str(tmp_path / "file"))

    assert done.returncode == 1
    assert refusal in done.stderr.splitlines()[-1]


def test_processor_time_ends_with_a_signal_that_tells_it() -> None:
    assert run("while True: pass").returncode == -signal.SIGXCPU


def test_what_opening_needs_it_still_can(tmp_path: Path) -> None:
    done = run("import threading; threading.Thread(target=print, args=('open',)).start()")

    assert (done.returncode, done.stdout) == (0, "open\n")
