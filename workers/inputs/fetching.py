"""Has an input fetched in a process of its own, which has the network and nothing else to lose.

The prepare stage calls `fetch` for a job whose input is a URL, and then has the file opened like an upload. The other
end is `fetcher`; what it leaves and says is taken with the care that is due to somebody who has talked to strangers.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from core import errors
from core.errors import ChunkTimeout, DownloadFailed, Internal, JobError, MediaTooLarge, StoreUnavailable
from workers.inputs.confined import NO_ROOM, TOO_LARGE
from workers.inputs.fetched import Fetched, OnBytes
from workers.inputs.media_details import MAX_DETAILS_BYTES, taken
from workers.inputs.notes import Notes
from workers.inputs.orders import Order
from workers.inputs.process import OpenLimits, attend, awaited, environment, heard

log = structlog.get_logger(__name__)

MAX_NAME = 300

_PROGRAM = (sys.executable, "-P", "-B", "-m", "workers.inputs.fetcher")
_TOO_LONG = "Fetching the input took longer than this service allows; upload the file instead."
_ENDED = "The download ended unexpectedly each time it was tried; try again later, or upload the file."
_NO_ROOM = "The service has no room for a file of this size at the moment; try again later, or tell its operator."
_ROOM_BYTES = 16 * 1024**2
"""With less than this on the disk nothing is fetched."""
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_SAID = {
    kind.code: kind
    for kind in (
        *(errors.MediaTooLong, MediaTooLarge, errors.AddressRefused, errors.FileUnavailable, errors.VideoUnavailable),
        *(errors.VideoPrivate, errors.VideoLive, errors.VideoAgeRestricted, errors.DownloadBlocked, DownloadFailed),
    )
}


def fetch(order: Order, on_bytes: OnBytes, on_wait: Callable[[], None] = lambda: None) -> Fetched:
    """The file, in the order's folder, which is empty before. `on_bytes`, and `on_wait` which is called each second
    that brings nothing, may raise to break it off.

    Raises what `youtube.download` and `direct.download` raise, `ChunkTimeout`, `StoreUnavailable` where the disk is
    full before, and `Internal`, also where the file fills it.
    """
    if shutil.disk_usage(order.folder).free < _ROOM_BYTES:
        log.error("the worker's disk is full", folder=str(order.folder))
        raise StoreUnavailable
    try:
        with _fetcher(order) as process:
            done = _done(order, process, on_bytes, on_wait)
    except ChunkTimeout as error:
        raise ChunkTimeout(_TOO_LONG) from error
    return _checked(order, done)  # nobody is left to change what is looked at


def _done(
    order: Order, process: subprocess.Popen[bytes], on_bytes: OnBytes, on_wait: Callable[[], None]
) -> dict[str, Any]:
    """The last that the process says. Raises the error that it ends with."""
    limits = OpenLimits(order.options.memory_bytes, order.options.total_s, order.options.total_s)
    notes = Notes()
    for said in heard(process, limits, MAX_DETAILS_BYTES, on_wait):
        if "done" in said:
            return said
        if "progress" in said:
            on_bytes(*_bytes_of(said))
        if "note" in said:
            notes.take(said["note"], said.get("is_error"))
        attend(said, _SAID)
    raise _end(order, awaited(process))


@contextmanager
def _fetcher(order: Order) -> Iterator[subprocess.Popen[bytes]]:
    """The process, and with it whatever it starts, which do not outlive the block."""
    process = subprocess.Popen(
        _PROGRAM,
        env=environment(*_PASSED_ON) | {"HOME": str(order.folder), "TMPDIR": str(order.folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # A long order does not fit into the pipe, and who is to read it may have died.
    telling = threading.Thread(target=_tell, args=(process, order.to_json()), daemon=True)
    telling.start()
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        telling.join()
        process.stdout.close()


def _tell(process: subprocess.Popen[bytes], order: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(order)


def _bytes_of(said: dict[str, Any]) -> tuple[int, int | None]:
    there, total = said["progress"], said.get("total")
    return int(there), int(total) if total is not None else None


def _checked(order: Order, said: dict[str, Any]) -> Fetched:
    """What the process says that it has fetched. A link, for one, would be another's file."""
    path = order.folder / Path(str(said["file"])).name
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        log.error("whoever fetched an input left no file of its own", mode=found and stat.filemode(found.st_mode))
        raise Internal
    if found.st_size > order.limits.max_bytes:
        raise MediaTooLarge()
    return Fetched(path, _name(str(said["name"])), taken(said.get("details")))


def _name(said: str) -> str:
    shown = "".join(letter for letter in said if letter.isprintable()).strip()
    return shown[:MAX_NAME] or "file"


def _end(order: Order, status: int) -> JobError:
    """What it means that the process ended without a word."""
    if status == NO_ROOM:
        log.error("an input leaves no room on the worker's disk", folder=str(order.folder))
        return Internal(_NO_ROOM)  # charged: nobody is to fetch the same file a thousand times
    if status == TOO_LARGE:
        return MediaTooLarge("Fetching the input takes more memory or space than this service allows.")
    log.error("whoever fetched an input was ended", status=status)
    return DownloadFailed(_ENDED)
