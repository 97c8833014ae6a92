"""What YouTube says of a video, as what is kept with its job. `youtube` calls it with yt-dlp's record of the video.

Every word of the record is a stranger's: it is cut to a length, and what no database or page should meet is left out.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from core.details import Chapter, MediaDetails

MAX_TEXT = 300
"""Characters of a title or a name. YouTube's own titles have at most 100."""
MAX_URL = 2000
MAX_CHAPTERS = 500


def details(info: dict[str, Any]) -> MediaDetails:
    """Title, channel, id, thumbnail and chapters, as far as the record has them."""
    return MediaDetails(
        title=_text(info.get("title")),
        channel=_text(info.get("channel") or info.get("uploader")),
        video_id=_text(info.get("id")),
        thumbnail_url=_url(info.get("thumbnail")),
        chapters=tuple(_chapters(info.get("chapters"))),
    )


def number(value: object) -> float | None:
    """A finite number from 0; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < math.inf else None


def _text(value: object) -> str | None:
    """One line without control characters, NUL and halves of a surrogate pair; None if nothing is left."""
    if not isinstance(value, str):
        return None
    shown = "".join(" " if unicodedata.category(character) in ("Cc", "Cs") else character for character in value)
    return " ".join(shown.split())[:MAX_TEXT].strip() or None


def _url(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isascii() or not value.isprintable():
        return None
    try:
        url = urlsplit(value)
    except ValueError:
        return None
    return value if url.scheme in ("http", "https") and url.hostname and " " not in value else None


def _chapters(value: object) -> Iterator[Chapter]:
    """In order and apart, each with an end; what does not fit that is left out."""
    found = value if isinstance(value, list | tuple) else ()
    until_s, n_chapters = 0.0, 0
    for entry in found:
        if n_chapters == MAX_CHAPTERS:
            return
        if not isinstance(entry, dict):
            continue
        start_s, end_s = number(entry.get("start_time")), number(entry.get("end_time"))
        if start_s is None or end_s is None or not until_s <= start_s < end_s:
            continue
        n_chapters += 1
        until_s = end_s
        yield Chapter(_text(entry.get("title")) or f"Chapter {n_chapters}", start_s, end_s)
