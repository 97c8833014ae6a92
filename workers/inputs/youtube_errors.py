"""Which of the service's errors a failure of yt-dlp is: one table, by words of its message, and one by HTTP status.

yt-dlp has one exception for almost everything, `DownloadError`, and a sentence in it: its own, or the reason that
YouTube gave, passed on. `youtube` lets each of its calls run inside `named`. The tests ask the installed yt-dlp for
these sentences, so that a version that words one anew fails them.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.utils import GeoRestrictedError, YoutubeDLError, remove_terminal_sequences

from core.errors import (
    DownloadBlocked,
    DownloadFailed,
    JobError,
    VideoAgeRestricted,
    VideoLive,
    VideoPrivate,
    VideoUnavailable,
)

MAX_MESSAGE = 300

_ELSEWHERE = "The video cannot be watched in the country that this service downloads from; upload a recording of it."
_DRM = "The video is protected against copying (DRM); upload a recording of it."
_PAID = "The video is for those who pay for it; upload a recording of it."
_NO_FORMAT = "YouTube offered nothing with sound that may be downloaded; the operator may set cookies or a proxy."


@dataclass(frozen=True, slots=True)
class Rule:
    """A message that holds `words` is this error. `said`: what its message is, where the error's own says too little.

    `quoted`: what YouTube said stands behind it. `of_yt_dlp`: the words stand in yt-dlp's own source; the others are
    YouTube's, which yt-dlp passes on.
    """

    words: str
    error: type[JobError]
    said: str | None = None
    quoted: bool = False
    of_yt_dlp: bool = False


RULES = (
    # Before all that also says "sign in".
    Rule("confirm your age", VideoAgeRestricted, of_yt_dlp=True),
    Rule("age-restricted", VideoAgeRestricted, of_yt_dlp=True),
    Rule("inappropriate", VideoAgeRestricted, of_yt_dlp=True),
    Rule("private video", VideoPrivate, of_yt_dlp=True),
    Rule("video is private", VideoPrivate),
    Rule("members-only", VideoPrivate),
    Rule("available to this channel's members", VideoPrivate),
    # Walls that the operator can do something about.
    Rule("not a bot", DownloadBlocked),
    Rule("captcha challenge before playback", DownloadBlocked, of_yt_dlp=True),
    Rule("has been rate-limited by YouTube", DownloadBlocked, of_yt_dlp=True),
    Rule("content isn't available, try again later", DownloadBlocked, of_yt_dlp=True),
    Rule("your IP is likely being blocked", DownloadBlocked, of_yt_dlp=True),
    # What is yet to come.
    Rule("live event will begin", VideoLive),
    Rule("live event has ended", VideoLive),
    Rule("premieres in", VideoLive),
    Rule("premiere will begin", VideoLive),
    Rule("is not currently live", VideoLive, of_yt_dlp=True),
    # What is not to be had.
    Rule("available in your country", VideoUnavailable, _ELSEWHERE, of_yt_dlp=True),
    Rule("due to geo restriction", VideoUnavailable, _ELSEWHERE, of_yt_dlp=True),
    Rule("blocked it in your country", VideoUnavailable, _ELSEWHERE),
    Rule("is DRM protected", VideoUnavailable, _DRM, of_yt_dlp=True),
    Rule("requires payment", VideoUnavailable, _PAID),
    Rule("video has been removed", VideoUnavailable, quoted=True, of_yt_dlp=True),
    Rule("video unavailable", VideoUnavailable, quoted=True, of_yt_dlp=True),
    Rule("video is unavailable", VideoUnavailable, quoted=True),
    Rule("video is not available", VideoUnavailable, quoted=True),
    Rule("video is no longer available", VideoUnavailable, quoted=True),
    Rule("video isn't available", VideoUnavailable, quoted=True),
    Rule("recording is not available", VideoUnavailable, quoted=True),
    Rule("has been terminated", VideoUnavailable, quoted=True),
    # What is left of "sign in", to which yt-dlp adds its hint, and formats that YouTube keeps to itself.
    Rule("--cookies", DownloadBlocked, of_yt_dlp=True),
    Rule("only available for registered users", DownloadBlocked, of_yt_dlp=True),
    Rule("no video formats found", DownloadBlocked, _NO_FORMAT, of_yt_dlp=True),
    Rule("requested format is not available", DownloadBlocked, _NO_FORMAT, of_yt_dlp=True),
)
"""The first that fits counts. Upper and lower case are one, and so are the two forms of an apostrophe."""

_BLOCKED = frozenset({401, 402, 403, 407, 429})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM})

_NOISE = (
    re.compile(r"^\s*ERROR:\s*"),
    re.compile(r"^\[[\w:.-]+\]\s*(?:[\w-]+:\s*)?"),
    re.compile(r"[;.,]?\s*please report this issue on .*", re.IGNORECASE | re.DOTALL),
    re.compile(r"\s*\(caused by .*", re.DOTALL),
    re.compile(
        r"[.;]?\s*(?:Use --|You might want to use a VPN|Also see |See  |It is recommended to use `).*", re.DOTALL
    ),
    re.compile(r"https?://\S+"),
    re.compile(r"(?:/[\w.+@-]+){2,}/?"),
)


@contextmanager
def named() -> Iterator[None]:
    """Run yt-dlp; what it raises becomes the `JobError` that it is. A full disk stays the `OSError` that it is."""
    try:
        yield
    except YoutubeDLError as error:
        full = next((one for one in _causes(error) if isinstance(one, OSError) and one.errno in _FULL), None)
        if full is not None:
            raise full from error
        raise of(error) from error


def of(error: YoutubeDLError) -> JobError:
    """The error that a client sees: by yt-dlp's words, or else by the HTTP status behind them."""
    message = str(error)
    for rule in RULES:
        if _plain(rule.words) in _plain(message):
            return rule.error(_told(rule, message))
    causes = list(_causes(error))
    if any(isinstance(one, GeoRestrictedError) for one in causes):
        return VideoUnavailable(_ELSEWHERE)
    status = next((int(one.status) for one in causes if isinstance(one, HTTPError)), None)
    if status in _BLOCKED:
        return DownloadBlocked(
            f"YouTube refused the download (HTTP {status}); the operator may set cookies or a proxy."
        )
    return DownloadFailed(f"{DownloadFailed.__doc__} It ended with: {cleaned(message)}.")


def cleaned(message: str) -> str:
    """yt-dlp's sentence for who does not run it: one line, no colours, no advice on its options, no URLs or paths."""
    text = remove_terminal_sequences(message)
    for noise in _NOISE:
        text = noise.sub("", text)
    return " ".join(text.replace("\0", "").split())[:MAX_MESSAGE].strip(" .;:") or "no reason was given"


def _told(rule: Rule, message: str) -> str | None:
    if not rule.quoted:
        return rule.said
    return f"{rule.error.__doc__} YouTube said: {cleaned(message)}."


def _plain(text: str) -> str:
    return text.casefold().replace("’", "'")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it: what yt-dlp keeps in fields of its own as well as Python's chain."""
    found: list[BaseException] = [error]
    for one in found:  # grows as it is walked
        kept = (getattr(one, "exc_info", None) or (None, None))[1]
        for cause in (kept, getattr(one, "cause", None), one.__cause__, one.__context__):
            if isinstance(cause, BaseException) and not any(cause is seen for seen in found):
                found.append(cause)
    yield from found
