"""The process that opens one input, as the worker sees it: begun, listened to, and ended with the block that began it.

`opening` says what is to be opened and takes what comes of it; the other end is `confined`. `fetching` listens to a
process of its own likewise. Here stands the clock, and what an end without a word means for the job: a decoder that
crashes, or wants more than the bounds, is the input's fault, and no other chunk hears of it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog

from core import errors
from core.errors import ChunkTimeout, Internal, JobError, MediaUnreadable, PdfUnreadable, StoreUnavailable
from core.job import JobKind
from workers.inputs.confined import NO_ROOM, TOO_LARGE
from workers.inputs.confinement import Bounds
from workers.inputs.media_details import MAX_DETAILS_BYTES

log = structlog.get_logger(__name__)

BROKEN = "The file is damaged in a way that cannot be opened."
CRASHED = "The file is damaged, or takes more memory to open than this service allows; a smaller part of it may do."
TOO_MUCH = "Opening the file takes more memory or space than this service allows; a smaller part of it may do."
_TOO_LONG = "Opening the file took longer than this service allows."
_PIECE_BYTES = 64 * 1024
_MAX_MESSAGE = 500
_LAST_S = 10.0
_LOOK_S = 1.0
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
_SAID = {
    kind.code: kind
    for kind in (MediaUnreadable, errors.MediaTooLong, PdfUnreadable, errors.PdfEncrypted, errors.PdfNoText)
}
_told: set[str] = set()


@dataclass(frozen=True, slots=True)
class OpenLimits:
    """How much memory opening one input may take, how long in all, and how long from one step to the next.

    A step is a page, or ten seconds of a recording. What counts is the time in which it is waited for.
    """

    memory_bytes: int
    total_s: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be opened: `path`, of a kind, of at most so many seconds or pages, into `result` of so many bytes."""

    kind: JobKind
    path: Path
    result: Path
    most: float
    file_bytes: int
    limits: OpenLimits
    password: str = field(default="", repr=False)
    scans: int = 0

    def unreadable(self, why: str) -> JobError:
        """The input is at fault."""
        return (PdfUnreadable if self.kind is JobKind.DOCUMENT else MediaUnreadable)(why)

    def argv(self) -> list[str]:
        """The command of the process."""
        bounds = Bounds(self.limits.memory_bytes, int(self.limits.total_s) + 1, self.file_bytes)
        places = {"path": str(self.path), "result": str(self.result)}
        asked = {"kind": self.kind, "most": self.most, "scans": self.scans, "bounds": asdict(bounds), **places}
        return [sys.executable, "-P", "-B", "-m", "workers.inputs.confined", json.dumps(asked)]


def environment(*more: str) -> dict[str, str]:
    """Of the worker's environment what its processes are given: these besides, and no key and no password."""
    passed = {name: os.environ[name] for name in (*_PASSED_ON, *more) if name in os.environ}
    # Each thread would take address space.
    return passed | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@contextmanager
def opened(request: Request, on_progress: Callable[[], None]) -> Iterator[Iterator[dict[str, Any]]]:
    """A process that opens the input, and what it says of each step. It does not outlive the block.

    Whoever listens is told the error that it ends with, or `ChunkTimeout` if it takes too long.
    """
    process = subprocess.Popen(
        request.argv(),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries complain there, a line for each fault of the file
        start_new_session=True,  # Ctrl-C is for the worker, which may finish its chunk
    )
    try:
        _tell(process, request.password)
        yield _steps(process, request, on_progress)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _tell(process: subprocess.Popen[bytes], password: str) -> None:
    """Tell the process the password: not with its arguments, which every user of the machine may read.

    It fits in the pipe, so that this waits for nobody.
    """
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:  # one that has ended already is told of by its end
        process.stdin.write(json.dumps(password).encode())


def _steps(
    process: subprocess.Popen[bytes], request: Request, on_progress: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    """What the process says of each step, and last of all that it is done. Raises the error that it ends with."""
    for said in heard(process, request.limits, MAX_DETAILS_BYTES):
        if "done" in said:
            yield said
            return
        if "progress" in said:
            on_progress()
            yield said
        attend(said)
    raise _end(request, awaited(process))


def heard(
    process: subprocess.Popen[bytes],
    limits: OpenLimits,
    max_line_bytes: int = _PIECE_BYTES,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """What the process says, as it says it, until it closes its output. Raises `ChunkTimeout` when its time is up.

    While it says nothing `on_wait` is called each second, and may raise to break it off.
    """
    assert process.stdout is not None
    left_s, rest = limits.total_s, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            began = time.monotonic()
            if not _speaks(selector, min(left_s, limits.step_s), on_wait):
                raise ChunkTimeout(_TOO_LONG)
            left_s -= time.monotonic() - began
            piece = os.read(process.stdout.fileno(), _PIECE_BYTES)
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > max_line_bytes:
                raise Internal
            yield from (json.loads(line) for line in lines)


def _speaks(selector: selectors.BaseSelector, within_s: float, on_wait: Callable[[], None]) -> bool:
    until = time.monotonic() + within_s
    while (left_s := until - time.monotonic()) > 0:
        if selector.select(min(left_s, _LOOK_S)):
            return True
        on_wait()
    return False


def awaited(process: subprocess.Popen[bytes]) -> int:
    """The status of a process that has closed its output. Raises `ChunkTimeout` for one that goes on without it."""
    try:
        return process.wait(_LAST_S)
    except subprocess.TimeoutExpired as error:
        raise ChunkTimeout(_TOO_LONG) from error


def attend(said: dict[str, Any], known: Mapping[str, type[JobError]] = _SAID) -> None:
    """Act on what the process says besides its steps. Raises the error that it tells of, if it is one of these."""
    if "error" in said:
        raise known.get(str(said["error"]), Internal)(str(said["message"])[:_MAX_MESSAGE])
    elif "fault" in said:
        log.error("opening or fetching an input failed", trace=said["fault"])
        raise Internal
    for name in set(said.get("refused", ())) - _told:
        _told.add(name)
        log.warning("this system does not confine whoever opens inputs, or fetches them", unbound=name)


def _end(request: Request, status: int) -> JobError:
    """What it means that the process ended without a word."""
    if status == TOO_LARGE:
        return request.unreadable(TOO_MUCH)
    if status == NO_ROOM:
        log.error("the worker's disk is full", folder=str(request.result.parent))
        return StoreUnavailable()
    if status == -signal.SIGXCPU:
        return ChunkTimeout(_TOO_LONG)
    if -status in _CRASHES:
        return request.unreadable(CRASHED)
    log.error("whoever opened an input was ended", status=status)
    return Internal()
