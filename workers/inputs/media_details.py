"""What a recording says of itself, as what is kept with its job: `youtube_details` has it from yt-dlp, `audio` from the
file. `taken` reads it again where it comes out of the process that had to do with strangers.

Every word of it is a stranger's: it is cut to a length, and what no database or page should meet is left out.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from pydantic import ValidationError

from core import details
from core.details import Chapter, MediaDetails
from core.job import JobKind
from core.options import storable

if TYPE_CHECKING:
    import av

log = structlog.get_logger(__name__)

MAX_TEXT = 300
"""Characters of a title or a name. YouTube's own titles have at most 100."""
MAX_URL = 2000
MAX_CHAPTERS = 500
MAX_DETAILS_BYTES = 2 * 1024**2
"""What they take as JSON, with all of these at their longest."""

_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


@dataclass(frozen=True, slots=True)
class Part:
    """A chapter as its source tells it, in seconds; nothing of it is believed yet."""

    title: object
    start_s: object
    end_s: object


def of_container(container: av.container.InputContainer) -> MediaDetails:
    """The title and the chapters that a file carries. Ogg has the title with the sound; elsewhere what stands there is
    the name of a track, such as "Surround 5.1"."""
    of_whole = container.streams.audio[0] if container.format.name == "ogg" else container
    title = container.metadata.get("title") or of_whole.metadata.get("title")
    return MediaDetails(title=one_line(title), chapters=tuple(in_order(_parts(container))))


def taken(said: object) -> MediaDetails | None:
    """Details out of the process that read them; None where they cannot be stored."""
    if said is None:
        return None
    try:
        found = details.from_stored(JobKind.TRANSCRIPTION, storable(said))
    except (ValueError, ValidationError) as error:
        log.warning("what a source says of itself cannot be kept", error=str(error).split("\n")[0])
        return None
    assert isinstance(found, MediaDetails)
    return MediaDetails(
        title=one_line(found.title),
        channel=one_line(found.channel),
        video_id=one_line(found.video_id),
        thumbnail_url=web_address(found.thumbnail_url),
        chapters=tuple(in_order(Part(one.title, one.start_s, one.end_s) for one in found.chapters)),
    )


def number(value: object) -> float | None:
    """A finite number from 0; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < math.inf else None


def one_line(value: object) -> str | None:
    """One line without control characters, NUL, halves of a surrogate pair, and marks that turn text around; None if
    nothing is left."""
    if not isinstance(value, str):
        return None
    shown = "".join(" " if _is_hidden(character) else character for character in value)
    return " ".join(shown.split())[:MAX_TEXT].strip() or None


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or unicodedata.bidirectional(character) in _TURNING


def web_address(value: object) -> str | None:
    """A URL of the web in plain letters; None for everything else."""
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isascii() or not value.isprintable():
        return None
    try:
        url = urlsplit(value)
    except ValueError:
        return None
    return value if url.scheme in ("http", "https") and url.hostname and " " not in value else None


def in_order(parts: Iterable[Part]) -> Iterator[Chapter]:
    """The first `MAX_CHAPTERS`, in order and apart, each with an end; what does not fit that is left out."""
    until_s, n_chapters = 0.0, 0
    for part in parts:
        if n_chapters == MAX_CHAPTERS:
            return
        start_s, end_s = number(part.start_s), number(part.end_s)
        if start_s is None or end_s is None or not until_s <= start_s < end_s:
            continue
        n_chapters += 1
        until_s = end_s
        yield Chapter(one_line(part.title) or f"Chapter {n_chapters}", start_s, end_s)


def _parts(container: av.container.InputContainer) -> Sequence[Part]:
    """The chapters of a file by their beginnings: one that goes on into the next, by rounding, ends there."""
    found = [
        (float(one["start"] * one["time_base"]), float(one["end"] * one["time_base"]), one["metadata"].get("title"))
        for one in container.chapters()
        if one["time_base"]
    ]
    found.sort(key=lambda one: one[:2])
    ends = [min(end_s, after[0]) for (_, end_s, _), after in pairwise(found)] + [end_s for _, end_s, _ in found[-1:]]
    return [Part(title, start_s, end_s) for (start_s, _, title), end_s in zip(found, ends, strict=True)]
