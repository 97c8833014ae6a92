"""What a process that fetches is told: which link, into which folder, and how. `fetching` tells `fetcher`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from core.links import DirectLink, UrlHosts, VideoLink
from workers.inputs.fetched import FetchLimits


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How this service fetches, by its settings. All of one input takes at most `total_s` seconds; a server that says
    nothing for `silence_s` is gone. Retries and rate are those of YouTube, but for `direct_retries`. The processes of a
    worker fetch `at_once` inputs.
    """

    hosts: UrlHosts
    proxy: str | None = None
    at_once: int = 1
    total_s: float = 480.0
    silence_s: float = 20.0
    memory_bytes: int = 2 * 1024**3
    direct_retries: int = 2
    cookies_file: Path | None = None
    rate_bytes_per_s: int | None = None
    retries: int = 5


@dataclass(frozen=True, slots=True)
class Order:
    """One input that is to be fetched."""

    link: VideoLink | DirectLink
    folder: Path
    limits: FetchLimits
    options: FetchOptions

    def to_json(self) -> bytes:
        """For a pydantic `TypeAdapter` to read."""
        return json.dumps(asdict(self), default=_plain).encode()


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"no way to write a {type(value).__name__}")
