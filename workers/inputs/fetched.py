"""What fetching an input is given, and what it brings: shared by `youtube`, `direct` and who calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.details import MediaDetails

OnBytes = Callable[[int, int | None], None]
"""Called with how many bytes are there, and of how many, where that is known."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What is fetched: bytes of the file, and seconds of a recording, as far as its source tells them beforehand."""

    max_bytes: int
    max_s: float


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that lies in the folder that it was to be fetched into. `name` is what its source calls it."""

    path: Path
    name: str
    details: MediaDetails | None = None
