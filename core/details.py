"""What an input says of itself: title, chapters, outline, page labels. Kept on the job, shown with it.

Found while the input is fetched or opened (`workers.inputs`), stored with the result of `prepare`; the embed stage
ends passages where a chapter ends, and a citation names the page as it is printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from core.job import JobKind


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of a recording, in seconds on the media clock."""

    title: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Heading:
    """An entry of a PDF's outline: the page that it points to (from 1), and how deep it lies (from 0)."""

    title: str
    page: int
    level: int


@dataclass(frozen=True, slots=True)
class MediaDetails:
    """Of a recording. `video_id` is that of YouTube."""

    title: str | None = None
    channel: str | None = None
    video_id: str | None = None
    thumbnail_url: str | None = None
    chapters: tuple[Chapter, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentDetails:
    """Of a PDF. `page_labels` are the printed numbers, one a page, or none where they are 1, 2, 3 …"""

    title: str | None = None
    page_labels: tuple[str, ...] = ()
    outline: tuple[Heading, ...] = ()


Details = MediaDetails | DocumentDetails

_MEDIA, _DOCUMENT = TypeAdapter(MediaDetails), TypeAdapter(DocumentDetails)


def to_stored(details: Details) -> dict[str, Any]:
    """The details as JSON."""
    return asdict(details)


def from_stored(kind: JobKind, stored: Mapping[str, Any]) -> Details:
    """The details again; nothing stored is nothing known."""
    return _DOCUMENT.validate_python(stored) if kind is JobKind.DOCUMENT else _MEDIA.validate_python(stored)
