"""The process that fetches one input: `python -m workers.inputs.fetcher`, started by `fetching` and by no other.

It reads what is asked from its standard input, because a proxy and its password may be part of it, and binds itself
before it loads a library that talks to strangers: it keeps the network, which `outgoing` guards, and one folder. On its
standard output it says what `fetching` is to know, one JSON object a line. It holds no key and no password of the
service.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from core import details
from core.courtesy import give_way
from core.errors import AddressRefused, DownloadBlocked, DownloadFailed, JobError
from core.links import VideoLink
from workers.inputs.confined import NO_ROOM, TOO_LARGE
from workers.inputs.confinement import Bounds, Online, Reach, confine
from workers.inputs.fetched import Fetched, OnBytes
from workers.inputs.notes import Noting
from workers.inputs.orders import Order
from workers.outgoing import guard_process, private_of

_MAX_TRACE = 4000
_REPORT_S = 0.5
_SPARE_PART, _SPARE_BYTES = 20, 1024**3
"""What a download leaves of the disk: a twentieth, or this where that is more."""
_ROOM_BYTES = 64 * 1024
"""A disk with less than this is full: what a download leaves of it is less than a piece."""


def main(order: Order, said: Callable[..., None]) -> None:
    """Fetch what is ordered, within its bounds, and say what came of it."""
    for word in (signal.SIGTERM, signal.SIGINT):  # a worker that is stopped finishes its chunk; its end is ours
        signal.signal(word, signal.SIG_IGN)
    give_way(0)
    logging.getLogger().addHandler(Noting(said))
    said(refused=confine(_bounds(order), Reach(order.folder, order.folder, online=_online(order))))
    try:
        guard = guard_process(order.options.hosts.private | private_of(order.options.proxy))
    except OSError as error:
        said(error=DownloadFailed.code, message=f"The proxy for fetching cannot be found: {error}")
        return
    try:
        found = _fetched(order, _Progress(said, order.folder))
        known = details.to_stored(found.details) if found.details else None
        said(done=True, file=found.path.name, name=found.name, details=known)
    except MemoryError:
        os._exit(TOO_LARGE)
    except Exception as error:
        # Whatever a library has made of the refusal.
        _tell(AddressRefused() if guard.refused else error, order.folder, said)


def _tell(error: Exception, folder: Path, said: Callable[..., None]) -> None:
    if isinstance(error, DownloadBlocked | DownloadFailed) and shutil.disk_usage(folder).free < _ROOM_BYTES:
        os._exit(NO_ROOM)  # the runtime of JavaScript, for one, does not say why it could not run
    if isinstance(error, JobError):
        said(error=error.code, message=error.message)
        return
    if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.ENOMEM):
        os._exit(TOO_LARGE)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        os._exit(NO_ROOM)
    said(fault="".join(traceback.format_exception(error))[-_MAX_TRACE:])


def _fetched(order: Order, on_bytes: OnBytes) -> Fetched:
    options = order.options
    if isinstance(order.link, VideoLink):
        from workers.inputs.youtube import YouTubeOptions
        from workers.inputs.youtube import download as download_video

        of_youtube = YouTubeOptions(
            cookies_file=options.cookies_file,
            proxy=options.proxy,
            rate_bytes_per_s=options.rate_bytes_per_s,
            retries=options.retries,
            silence_s=options.silence_s,
        )
        return download_video(order.link.video_id, order.folder, order.limits, of_youtube, on_bytes)
    from workers.inputs.direct import DirectOptions, download

    direct = DirectOptions(options.hosts, options.proxy, options.direct_retries, silence_s=options.silence_s)
    return download(order.link.url, order.folder, order.limits, direct, on_bytes)


def _bounds(order: Order) -> Bounds:
    # Over the limit of the input, which is told better, and not so far that a disk fills up.
    file_bytes = order.limits.max_bytes + 64 * 1024**2
    return Bounds(order.options.memory_bytes, int(order.options.total_s) + 1, file_bytes)


def _online(order: Order) -> Online:
    if not isinstance(order.link, VideoLink):
        return Online()
    from workers.inputs import javascript

    runtime, cookies = javascript.runtime(), order.options.cookies_file
    return Online((runtime,) if runtime else (), (cookies,) if cookies else ())


class _Progress:
    """Says how much is there, and not more often than somebody reads it. Ends the process before the disk is full: what
    else is worked on this machine needs some of it."""

    def __init__(self, said: Callable[..., None], folder: Path) -> None:
        self._said = said
        self._folder = folder
        self._spare = min(shutil.disk_usage(folder).total // _SPARE_PART, _SPARE_BYTES)
        self._told_at = -_REPORT_S

    def __call__(self, there: int, total: int | None) -> None:
        if shutil.disk_usage(self._folder).free < self._spare:
            os._exit(NO_ROOM)
        if time.monotonic() - self._told_at >= _REPORT_S:
            self._told_at = time.monotonic()
            self._said(progress=there, total=total)


def _say(out: int) -> Callable[..., None]:
    def say(**facts: object) -> None:
        os.write(out, json.dumps(facts).encode() + b"\n")

    return say


def _own_output() -> int:
    """Where the results go; whatever a library prints goes nowhere."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return out


if __name__ == "__main__":
    asked: dict[str, Any] = json.load(sys.stdin)
    main(TypeAdapter(Order).validate_python(asked), _say(_own_output()))
