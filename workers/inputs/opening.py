"""Opens what a stranger sent in a process of its own, so that no input takes the worker or its machine along.

The prepare stage calls `decode` and `read_pages` as it would call those of `audio` and `pdf`; they run in `confined`,
which has given up everything but some memory and time. Here stands the clock, and what its end means for the job: a
decoder that crashes, or wants more than the bounds, is the input's fault, and no other chunk hears of it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from core import errors
from core.errors import ChunkTimeout, Internal, JobError, MediaUnreadable, PdfUnreadable, StoreUnavailable
from core.job import JobKind
from core.passages import Page
from workers.inputs.confined import NO_ROOM, TOO_LARGE
from workers.inputs.confinement import Bounds

if TYPE_CHECKING:  # the libraries that open inputs are loaded when there is one
    from workers.inputs.audio import DecodedAudio
    from workers.inputs.pdf import PdfText

log = structlog.get_logger(__name__)

PAGE_TEXT_BYTES = 16 * 1024
"""Text of a page that is room for: of all pages that a PDF may have together, so one may hold far more."""

_AUDIO_BYTES_PER_S = 2 * 16_000
_ROOM_BYTES = 1024 * 1024
_MAX_LINE_BYTES = 64 * 1024
_MAX_MESSAGE = 500
_LAST_S = 10.0
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")  # no key and no password
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
_SAID = {
    kind.code: kind
    for kind in (MediaUnreadable, errors.MediaTooLong, PdfUnreadable, errors.PdfEncrypted, errors.PdfNoText)
}
_told: set[str] = set()


@dataclass(frozen=True, slots=True)
class OpenLimits:
    """How much memory opening one input may take, how long in all, and how long from one step to the next.

    A step is a page, or ten seconds of a recording.
    """

    memory_bytes: int
    total_s: float
    step_s: float


@dataclass(frozen=True, slots=True)
class _Request:
    kind: JobKind
    path: Path
    result: Path
    most: float
    bounds: Bounds

    def unreadable(self, why: str) -> JobError:
        """The input is at fault."""
        return (PdfUnreadable if self.kind is JobKind.DOCUMENT else MediaUnreadable)(why)

    def argv(self) -> list[str]:
        asked = {**asdict(self), "path": str(self.path), "result": str(self.result)}
        return [sys.executable, "-P", "-B", "-m", "workers.inputs.confined", json.dumps(asked)]


def decode(
    path: Path, scratch: Path, *, max_s: float, limits: OpenLimits, on_progress: Callable[[], None]
) -> DecodedAudio:
    """`audio.decode` in a process of its own. Raises `ChunkTimeout` besides, and `MediaUnreadable` over a limit."""
    from workers.inputs.audio import RATE_HZ, DecodedAudio

    room = int(max_s * _AUDIO_BYTES_PER_S) + _ROOM_BYTES
    request = _Request(JobKind.TRANSCRIPTION, path, scratch, max_s, _bounds(limits, room))
    done = _opened(request, limits, on_progress)
    n_samples = _written(request) // 2
    return DecodedAudio(scratch, n_samples, n_samples / RATE_HZ, damaged=bool(done.get("damaged")))


def read_pages(path: Path, *, max_pages: int, limits: OpenLimits, on_page: Callable[[], None]) -> PdfText:
    """`pdf.read_pages` in a process of its own. Raises `ChunkTimeout` besides, and `PdfUnreadable` over a limit."""
    from workers.inputs.pdf import PdfText

    result = path.with_name("pages")
    room = max_pages * PAGE_TEXT_BYTES + _ROOM_BYTES
    request = _Request(JobKind.DOCUMENT, path, result, max_pages, _bounds(limits, room))
    _opened(request, limits, on_page)
    _written(request)
    pages, n_pages, empty, failed = json.loads(result.read_bytes())
    return PdfText(tuple(Page(int(n), str(text)) for n, text in pages), n_pages, empty, tuple(failed))


def _bounds(limits: OpenLimits, file_bytes: int) -> Bounds:
    return Bounds(limits.memory_bytes, int(limits.total_s) + 1, file_bytes)


def _written(request: _Request) -> int:
    """The length of the file that the process left, which is gone by now. A link, for one, would be another's file."""
    try:
        found = request.result.lstat()
    except FileNotFoundError:
        found = None
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        log.error("whoever opened an input left no file of its own", mode=found and stat.filemode(found.st_mode))
        raise request.unreadable("The file is damaged in a way that cannot be opened.")
    if found.st_size > request.bounds.file_bytes:
        raise request.unreadable("Opening the file takes more memory or space than this service allows.")
    return found.st_size


def _opened(request: _Request, limits: OpenLimits, on_progress: Callable[[], None]) -> dict[str, Any]:
    """What the process says last, once it is done. It does not outlive this call, however the call ends."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each thread would take address space
    process = subprocess.Popen(
        request.argv(),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries complain there, a line for each fault of the file
        start_new_session=True,  # Ctrl-C is for the worker, which may finish its chunk
    )
    try:
        for said in _heard(process, limits):
            if "done" in said:
                return said
            _attend(said, on_progress)
        raise _end(request, _awaited(process))
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _heard(process: subprocess.Popen[bytes], limits: OpenLimits) -> Iterator[dict[str, Any]]:
    """What the process says, as it says it, until it closes its output. Raises `ChunkTimeout` when its time is up."""
    assert process.stdout is not None
    ends_at, rest = time.monotonic() + limits.total_s, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left_s = min(ends_at - time.monotonic(), limits.step_s)
            if left_s <= 0 or not selector.select(left_s):
                raise ChunkTimeout("Opening the file took longer than this service allows.")
            piece = os.read(process.stdout.fileno(), _MAX_LINE_BYTES)
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _MAX_LINE_BYTES:
                raise Internal
            yield from (json.loads(line) for line in lines)


def _awaited(process: subprocess.Popen[bytes]) -> int:
    """The status of a process that has closed its output. Raises `ChunkTimeout` for one that goes on without it."""
    try:
        return process.wait(_LAST_S)
    except subprocess.TimeoutExpired as error:
        raise ChunkTimeout("Opening the file took longer than this service allows.") from error


def _attend(said: dict[str, Any], on_progress: Callable[[], None]) -> None:
    """Act on what the process says before its end. Raises the error that it tells of."""
    if "progress" in said:
        on_progress()
    elif "error" in said:
        raise _SAID.get(str(said["error"]), Internal)(str(said["message"])[:_MAX_MESSAGE])
    elif "fault" in said:
        log.error("opening an input failed", trace=said["fault"])
        raise Internal
    for name in set(said.get("refused", ())) - _told:
        _told.add(name)
        log.warning("this system does not confine whoever opens inputs", unbound=name)


def _end(request: _Request, status: int) -> JobError:
    """What it means that the process ended without a word."""
    if status == TOO_LARGE:
        return request.unreadable("Opening the file takes more memory or space than this service allows.")
    if status == NO_ROOM:
        log.error("the worker's disk is full", folder=str(request.result.parent))
        return StoreUnavailable()
    if status == -signal.SIGXCPU:
        return ChunkTimeout("Opening the file took longer than this service allows.")
    if -status in _CRASHES:
        return request.unreadable("The file is damaged in a way that cannot be opened.")
    log.error("whoever opened an input was ended", status=status)
    return Internal()
