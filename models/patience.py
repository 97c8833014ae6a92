"""How long what does not hold is decoded anew: as often as it helps speech, and not as often as music would ask for.

A window of music or noise that a detector took for speech fails at every try, and each costs as much as a window of
speech. `whisper` asks here before it tries another time, so that a chunk of such windows takes a few times as long as
one of speech, and not until its worker is taken for hung.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 2.0
"""What was decoded once may take so many times as long again."""

AT_LEAST_S = 20.0
"""And however short that was, so much: about one clip through all temperatures on two CPU cores."""


class Patience:
    """The time that is left for decoding anew, in one call of the engine."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowed_s = 0.0
        self._spent_s = 0.0
        self._began: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether what fails now is taken as it is."""
        running_s = self._clock() - self._began if self._began is not None else 0.0
        return self._spent_s + running_s > max(self._allowed_s, AT_LEAST_S)

    def allow(self, decoded_s: float) -> None:
        """So long has it taken to decode more clips once."""
        self._allowed_s += SHARE * decoded_s

    @contextmanager
    def taxed(self) -> Iterator[None]:
        """What is decoded in the block is decoded anew."""
        self._began = began = self._clock()
        try:
            yield
        finally:
            self._began = None
            self._spent_s += self._clock() - began
