"""Opens what a stranger sent in a process of its own, so that no input takes the worker or its machine along.

The prepare stage calls `decoding` and `read_pages`; what they call in `audio` and `pdf` runs in `confined`, which has
given up everything but some memory and time. `process` holds it to them; here is taken what it leaves, with the care
that is due to a decoder that a stranger's file may have taken over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import structlog

from core.details import MediaDetails
from core.errors import JobError
from core.job import JobKind
from workers.inputs.media_details import taken
from workers.inputs.pdf_pages import MAX_PIXELS, PdfText, loaded
from workers.inputs.process import BROKEN, TOO_MUCH, OpenLimits, Request, opened

if TYPE_CHECKING:  # the libraries that open inputs are loaded when there is one
    import numpy as np
    from numpy.typing import NDArray

log = structlog.get_logger(__name__)

PAGE_TEXT_BYTES = 16 * 1024
"""Text of a page that is room for: of all pages that a PDF may have together, so one may hold far more."""

_AUDIO_BYTES_PER_S = 2 * 16_000
_ROOM_BYTES = 1024 * 1024


class Decoding:
    """An `audio.Sound` that a process of its own is decoding. Each method raises what that process meets.

    `damaged` and `details` are known when all of it is there.

    The process knows the name of the file, this one has it open: it reads that file, whatever the name comes to stand
    for, and no more of it than there is.
    """

    def __init__(self, file: BinaryIO, request: Request, steps: Iterator[dict[str, Any]]) -> None:
        self.damaged = False
        self.details: MediaDetails | None = None
        self._file = file
        self._request = request
        self._steps = steps
        self._there_s = 0.0
        self._ended = False

    def await_until(self, time_s: float) -> float:
        """Wait until so many seconds are there; how many are: fewer only where the recording ends before."""
        while self._there_s < time_s and not self._ended:
            said = next(self._steps)
            self._ended, self.damaged = "done" in said, bool(said.get("damaged"))
            self.details = taken(said.get("details"))
            self._there_s = os.fstat(self._file.fileno()).st_size // 2 * 2 / _AUDIO_BYTES_PER_S
        if not self._there_s:
            raise self._request.unreadable(BROKEN)
        return self._there_s

    def samples(self, start_s: float, end_s: float) -> NDArray[np.float32]:
        """See `audio.Sound`."""
        from workers.inputs.audio import read_samples

        found = read_samples(self._file, start_s, end_s)
        if found.size < int((end_s - start_s) * _AUDIO_BYTES_PER_S / 2) - 1:  # it was there, and was taken away
            raise self._request.unreadable(BROKEN)
        return found


@contextmanager
def decoding(
    path: Path, scratch: Path, *, max_s: float, limits: OpenLimits, on_progress: Callable[[], None]
) -> Iterator[Decoding]:
    """`audio.decode` in a process of its own, which ends with the block; what is decoded is there at once.

    Raises `ChunkTimeout` besides, and `MediaUnreadable` over a limit.
    """
    room = int(max_s * _AUDIO_BYTES_PER_S) + _ROOM_BYTES
    request = Request(JobKind.TRANSCRIPTION, path, scratch, max_s, room, limits)
    scratch.touch(exist_ok=False)
    with scratch.open("rb", buffering=0) as file, opened(request, on_progress) as steps:
        yield Decoding(file, request, steps)


def read_pages(
    path: Path, *, max_pages: int, limits: OpenLimits, on_page: Callable[[], None], password: str = "", scans: int = 0
) -> PdfText:
    """`pdf.read_pages` in a process of its own. Raises `ChunkTimeout` besides, and `PdfUnreadable` over a limit."""
    result = path.with_name("pages")
    room = max(max_pages * PAGE_TEXT_BYTES, MAX_PIXELS if scans else 0) + _ROOM_BYTES
    request = Request(JobKind.DOCUMENT, path, result, max_pages, room, limits, password, scans)
    with opened(request, on_page) as steps:
        for _ in steps:
            pass
    check_written(request.result, request.file_bytes, request.unreadable)
    return loaded(result)


def check_written(result: Path, most_bytes: int, unreadable: Callable[[str], JobError]) -> None:
    """Refuse what a process that is gone by now left for a file: a link, for one, would be another's file."""
    try:
        found = result.lstat()
    except FileNotFoundError:
        found = None
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        log.error("whoever opened an input left no file of its own", mode=found and stat.filemode(found.st_mode))
        raise unreadable(BROKEN)
    if found.st_size > most_bytes:
        raise unreadable(TOO_MUCH)
