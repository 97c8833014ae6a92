"""Brings the sound of a YouTube video into a folder, with yt-dlp, as a library.

Runs in a process of its own that has the network and nothing else to lose; `fetched` says what goes in and out. Two
steps: `extract` asks YouTube about the video, `fetch` refuses what is too long, too large or live, and downloads the
best sound. The prepare stage then decodes the file like any upload. yt-dlp reads no configuration, plugin or cache, and
writes nothing but the media.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yt_dlp
from yt_dlp.globals import plugin_dirs
from yt_dlp.utils import remove_terminal_sequences

from core.errors import DownloadBlocked, DownloadFailed, MediaTooLarge, MediaTooLong, VideoLive, VideoUnavailable
from workers.inputs import cookies, javascript
from workers.inputs.cookies import CookiesUnreadable
from workers.inputs.fetched import Fetched, FetchLimits, OnBytes
from workers.inputs.media_details import number
from workers.inputs.youtube_details import details
from workers.inputs.youtube_errors import named

log = logging.getLogger(__name__)
"""The library's own logger, whose lines `notes` brings to the worker."""

Info = dict[str, Any]
"""yt-dlp's record of a video: what an extractor answers, and `YoutubeDL.process_ie_result` takes."""

_OPEN = "[protocol~='^(https?|http_dash_segments|m3u8_native)$']"
_FORMAT = f"bestaudio[ext~='^(m4a|webm)$']{_OPEN}/bestaudio{_OPEN}/worst[acodec!=none]{_OPEN}"
"""Sound alone, in a container that PyAV opens; else the smallest picture with sound. Nothing that needs ffmpeg."""

_NOT_YET = frozenset({"is_live", "is_upcoming", "post_live"})
_MAX_PAUSE_S = 20.0


@dataclass(frozen=True, slots=True)
class YouTubeOptions:
    """How YouTube is asked. `cookies_file` is in Netscape's format; it is read and never written.

    `retries` are of each request, piece and page, with pauses that double from `pause_s`; a connection that says
    nothing for `silence_s` counts as broken. `proxy` is a URL; without it, none is used, whatever the environment says.
    """

    cookies_file: Path | None = None
    proxy: str | None = None
    rate_bytes_per_s: int | None = None
    retries: int = 5
    pause_s: float = 1.0
    silence_s: float = 20.0


def download(video_id: str, folder: Path, limits: FetchLimits, options: YouTubeOptions, on_bytes: OnBytes) -> Fetched:
    """The sound of the video, in `folder`, with what YouTube says of it.

    Raises `VideoUnavailable`, `VideoPrivate`, `VideoLive`, `VideoAgeRestricted`, `MediaTooLong`, `MediaTooLarge`,
    `DownloadBlocked` and `DownloadFailed`, and an `OSError` where the disk is full.
    """
    return fetch(extract(video_id, folder, options), folder, limits, options, on_bytes)


def extract(video_id: str, folder: Path, options: YouTubeOptions) -> Info:
    """What YouTube answers about the video, with the formats that it offers. Nothing is chosen or downloaded yet."""
    with named(), javascript.caching_in(folder), yt_dlp.YoutubeDL(_parameters(folder, options)) as ydl:
        url = f"https://www.youtube.com/watch?v={video_id}"
        info: Info | None = ydl.extract_info(url, download=False, ie_key="Youtube", process=False)
    if not info:
        raise VideoUnavailable()
    return info


def fetch(info: Info, folder: Path, limits: FetchLimits, options: YouTubeOptions, on_bytes: OnBytes) -> Fetched:
    """Choose the best sound of the record, refuse what is over the limits, and download it.

    What an interrupted download has left in the folder is continued, by the next try within this call as well as by
    another call.
    """
    _refuse(info, limits)
    gate = _Gate(limits, on_bytes)
    parameters = _parameters(folder, options) | {"match_filter": gate.choose, "progress_hooks": [gate.progress]}
    with named(), yt_dlp.YoutubeDL(parameters) as ydl:
        done: Info = ydl.process_ie_result(info, download=True)
    files = [Path(one["filepath"]) for one in done.get("requested_downloads") or () if "filepath" in one]
    if len(files) != 1 or not files[0].is_file():
        raise DownloadFailed()
    found = details(done)
    return Fetched(files[0], found.title or found.video_id or files[0].name, found)


def _refuse(info: Info, limits: FetchLimits) -> None:
    """What can be told before a format is chosen."""
    kind = info.get("_type", "video")
    if kind in ("url", "url_transparent"):
        raise VideoUnavailable("Only a trailer of the video is shown to those who have not paid; upload a recording.")
    if kind != "video":
        raise VideoUnavailable("The link leads to a playlist; submit its videos one by one.")
    if info.get("live_status") in _NOT_YET or info.get("is_live"):
        raise VideoLive()
    duration_s = number(info.get("duration"))
    if duration_s is not None and duration_s > limits.max_s:
        lengths = f"{duration_s:g} s long; this account's tier accepts {limits.max_s:g} s"
        raise MediaTooLong(f"The video is {lengths}.")


class _Gate:
    """Holds the download to its size: before it begins, as far as that is known, and with each piece that comes."""

    def __init__(self, limits: FetchLimits, on_bytes: OnBytes) -> None:
        self._max_bytes = limits.max_bytes
        self._on_bytes = on_bytes

    def choose(self, info: Info, *, incomplete: bool = False) -> str | None:
        """yt-dlp's `match_filter`: called with the chosen format before its download. None lets it begin."""
        if not incomplete:
            self._hold(_size(info, "filesize", "filesize_approx"))
        return None

    def progress(self, status: Info) -> None:
        """yt-dlp's `progress_hook`."""
        there = _size(status, "downloaded_bytes", "total_bytes") or 0
        total = _size(status, "total_bytes")
        self._hold(max(there, total or 0))
        self._on_bytes(there, total if total is not None else _size(status, "total_bytes_estimate"))

    def _hold(self, n_bytes: int | None) -> None:
        if n_bytes is not None and n_bytes > self._max_bytes:
            sizes = f"{n_bytes} bytes; this account's tier accepts {self._max_bytes}"
            raise MediaTooLarge(f"The sound of the video is {sizes}.")


def _size(record: Info, *names: str) -> int | None:
    """The first of these that is a number."""
    found = (number(record.get(name)) for name in names)
    return next((int(value) for value in found if value is not None), None)


def _parameters(folder: Path, options: YouTubeOptions) -> Info:
    """Every parameter that is not yt-dlp's default, and those defaults that must not change."""
    plugin_dirs.value = []  # what is installed beside yt-dlp, or lies in somebody's home, is not loaded
    runtime = javascript.runtime()
    return {
        "allowed_extractors": ["youtube"],
        "noplaylist": True,
        "format": _FORMAT,
        "paths": {"home": str(folder)},
        "outtmpl": {"default": "media.%(ext)s"},
        "fixup": "never",
        "external_downloader": {"default": "native"},
        "hls_prefer_native": True,
        "cachedir": False,
        "js_runtimes": {javascript.NAME: {"path": str(runtime)} if runtime else {}},
        "remote_components": [],
        "cookiefile": _cookies(options.cookies_file),
        "proxy": options.proxy or "",
        "ratelimit": options.rate_bytes_per_s or None,
        "socket_timeout": options.silence_s,
        "retries": options.retries,
        "fragment_retries": options.retries,
        "extractor_retries": options.retries,
        "skip_unavailable_fragments": False,  # a hole in a recording is a failure
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), _pauses(options.pause_s)),
        "continuedl": True,
        "quiet": True,
        "noprogress": True,
        "color": "never",
        "logger": _Logger(),
    }


def _pauses(first_s: float) -> Any:
    def pause(n: int) -> float:
        return float(min(first_s * 2 ** min(n, 10), _MAX_PAUSE_S))

    return pause


def _cookies(file: Path | None) -> io.StringIO | None:
    """The cookies as a text of their own: yt-dlp writes what YouTube set back to where it read them from."""
    if file is None:
        return None
    try:
        found = cookies.read(file)
    except CookiesUnreadable as error:
        log.error("the file of %s cannot be read: %s", cookies.SETTING, error)
        raise DownloadBlocked(
            "The cookies file of this service cannot be read; its operator must export it anew."
        ) from error
    if not found.n_of_youtube:
        log.warning("the file of %s holds no cookie for YouTube that has not expired", cookies.SETTING)
    return io.StringIO(found.text)


class _Logger:
    """What yt-dlp has to say goes to the service's log: its warnings and its errors, which are raised as well."""

    def debug(self, message: str) -> None:
        """Also what it would print on a screen."""

    def warning(self, message: str) -> None:
        """Formats that are missing, and why, are said so."""
        log.warning("yt-dlp: %s", remove_terminal_sequences(message))

    def error(self, message: str) -> None:
        """Whose fault it is, its name will tell."""
        log.warning("yt-dlp: %s", remove_terminal_sequences(message))
