"""Engines that need no weights: for tests, demonstrations of scheduling, and machines without a model.

They keep the protocols of `engine` exactly, give the same answer for the same input, and take as long as they
are told to. `registry` lists them under the name `fake`.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.engine import Clip, Segment, TranscribeOptions, Transcription, Word

STEP_S = 0.02
"""Longest single sleep, so that whoever interrupts the process is heard soon."""

_WORD = re.compile(r"\w+")


class FakeTranscriber:
    """One segment per clip, its text made of the clip's times; `speed` is audio seconds per second."""

    def __init__(self, speed: float = 0.0) -> None:
        """`speed` 0 or infinite answers at once."""
        self._speed = speed

    def transcribe(
        self, audio: NDArray[np.float32], clips: Sequence[Clip], options: TranscribeOptions
    ) -> Transcription:
        """The audio itself is not listened to."""
        segments = (self._segment(clip) for clip in clips)
        return Transcription(options.language or "en", 1.0, segments)

    def close(self) -> None:
        """Nothing is held."""

    def _segment(self, clip: Clip) -> Segment:
        _take((clip.end_s - clip.start_s) / self._speed if self._speed > 0 else 0.0)
        text = f"Speech from {clip.start_s:.2f} to {clip.end_s:.2f} seconds."
        words = tuple(_spread(text.split(), clip))
        return Segment(clip.start_s, clip.end_s, text, -0.1, 1.0, 0.0, 0.0, words)


class FakeEmbedder:
    """Sums one fixed direction per word, so that texts which share words are alike."""

    max_tokens = 256

    def __init__(self, dimensions: int = 384) -> None:
        self.dimensions = dimensions

    def embed(
        self, texts: Sequence[str], *, query: bool = False, on_batch: Callable[[], object] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of shape (n, dimensions); a text without a word gets one fixed direction of its own."""
        rows = []
        for text in texts:
            rows.append(self._vector(text))
            if on_batch is not None:
                on_batch()
        return np.stack(rows) if rows else np.zeros((0, self.dimensions), dtype=np.float32)

    def close(self) -> None:
        """Nothing is held."""

    def _vector(self, text: str) -> NDArray[np.float32]:
        words = _WORD.findall(text.lower()) or [""]
        total = np.sum([self._direction(word) for word in words], axis=0)
        return np.asarray(total / np.linalg.norm(total), dtype=np.float32)

    def _direction(self, word: str) -> NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimensions)


def _take(duration_s: float) -> None:
    """Sleep in small steps until `duration_s` has passed."""
    until = time.monotonic() + duration_s
    while math.isfinite(duration_s) and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, STEP_S))


def _spread(words: Sequence[str], clip: Clip) -> Iterator[Word]:
    """The words at even distances over the clip."""
    step_s = (clip.end_s - clip.start_s) / len(words)
    for index, word in enumerate(words):
        start_s = clip.start_s + index * step_s
        yield Word(start_s, start_s + step_s, f" {word}", 1.0)
