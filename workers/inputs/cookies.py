"""The operator's cookies for YouTube, read from the file that `SCRIBELANE_YOUTUBE_COOKIES_FILE` names.

`youtube` hands them to yt-dlp; `workers.doctor` asks whether they are there. Why they cannot be read is told without a
line of the file: each is a key to somebody's account.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import io
from dataclasses import dataclass
from pathlib import Path

from yt_dlp.cookies import YoutubeDLCookieJar

SETTING = "SCRIBELANE_YOUTUBE_COOKIES_FILE"

_YOUTUBE = "https://www.youtube.com/"


class CookiesUnreadable(Exception):
    """The file is not there, may not be read, or is in another format; the message says which, for the operator."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """The file's text in Netscape's format, and how many of its cookies YouTube would be sent: not those that have
    expired."""

    text: str
    n_of_youtube: int


def read(file: Path) -> Cookies:
    """What the file holds. Raises `CookiesUnreadable`."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise CookiesUnreadable(error.strerror or type(error).__name__) from error
    except UnicodeDecodeError as error:
        raise CookiesUnreadable("it is no text in UTF-8") from error
    jar = YoutubeDLCookieJar(io.StringIO(text))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where the jar writes each line that it passes over
            jar.load()
    except (ValueError, http.cookiejar.LoadError) as error:
        raise CookiesUnreadable("it is not in Netscape's format") from error
    return Cookies(text, len(jar.get_cookies_for_url(_YOUTUBE)))
