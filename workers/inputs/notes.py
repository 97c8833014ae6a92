"""What is worth a line in the operator's log of what a library says while it fetches: bounded, and without secrets.

`fetcher`, where the libraries run, sends it to `fetching` by a `Noting`; there each note is taken as a stranger's word
by `Notes`, and logged under the name of its job.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

MOST_NOTES = 24
"""Of one input."""
MOST_CHARS = 300

_URL = re.compile(r"[A-Za-z][\w+.-]*://\S+")
_LOGIN = re.compile(r"[^\s:@]+:[^\s@]+@\S+")
"""Of a proxy, where no scheme shows that it is a URL."""
_COOKIES = re.compile(
    r"""\b(?:(?:set-)?cookies?|(?:proxy-)?authorization)['"]?\s*[:=].*"""
    r"|\b(?:__secure-\w+|__host-\w+|\w*(?:sid|sapisid|psid|token|password|secret))['\"]?\s*[:=]\s*\S+",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[^\s,;]{32,}")
"""What is so long is rather a signature, a token or a cookie than a word."""


def cleaned(text: str) -> str:
    """One line of at most `MOST_CHARS`, without control characters; without URLs, logins, cookies and tokens as far as
    they can be told."""
    shown = "".join(" " if unicodedata.category(one).startswith("C") else one for one in text[: 4 * MOST_CHARS])
    for secret, stands_for in ((_URL, "(URL)"), (_LOGIN, "(login)"), (_COOKIES, "(cookies)"), (_TOKEN, "(…)")):
        shown = secret.sub(stands_for, shown)
    return " ".join(shown.split())[:MOST_CHARS]


class Noting(logging.Handler):
    """Says what is logged at WARNING and above, each text once, up to `MOST_NOTES`."""

    def __init__(self, said: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._said = said
        self._noted: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            note = cleaned(record.getMessage())
        except Exception:  # a call that a library got wrong is no reason to end what it does
            return
        if note and note not in self._noted and len(self._noted) < MOST_NOTES:
            self._noted.add(note)
            self._said(note=note, is_error=record.levelno >= logging.ERROR)


class Notes:
    """Logs what a process that fetches has noted, whatever it may have become."""

    def __init__(self) -> None:
        self._n_left = MOST_NOTES

    def take(self, note: object, is_error: object) -> None:
        """Log one note; those over the bound are dropped."""
        if self._n_left:
            self._n_left -= 1
            (log.error if is_error is True else log.warning)("noted while fetching an input", note=cleaned(str(note)))
