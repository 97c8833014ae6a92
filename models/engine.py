"""The words between this room and its callers: sound and text in, segments and vectors out.

Callers depend on these protocols alone; `whisper`, `embedder` and `fake` stand behind them, and `pool` hands them
out. Times are seconds on the clock of the audio array that was passed in, so a caller that passes a part of a
recording adds that part's own start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
"""Samples per second of all audio in this room; Whisper and Silero VAD know no other rate."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of audio in which somebody speaks."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Clip:
    """A span of audio that is decoded as one window; at most 30 s, Whisper's window.

    `speech` is where in it somebody speaks, in order; none given: all of it may be speech.
    """

    start_s: float
    end_s: float
    speech: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its time and the model's own confidence (0 to 1).

    `text` begins with the space that parts it from the word before, in languages that have one.
    """

    start_s: float
    end_s: float
    text: str
    probability: float


class Doubt(StrEnum):
    """Why a person should look at a segment, or listen to its time."""

    UNHEARD = "unheard"
    """Somebody seems to speak, and no text came of it: the segment has none."""
    UNSURE = "unsure"
    """The model does not believe the text itself."""
    REPEATED = "repeated"
    """The model repeated itself. What it repeated is kept once, and something else may have been said."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A timed piece of text, with the numbers by which Whisper's decoding is judged.

    `avg_logprob` is the mean log probability per token, `compression_ratio` the length of the text over its
    zlib length (loops compress well), `no_speech_prob` the probability that nobody speaks; all three are those of the
    window that the segment was decoded in.
    """

    start_s: float
    end_s: float
    text: str
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    temperature: float
    words: tuple[Word, ...] = ()
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """What a caller may ask of a transcription. `language` None means: detect it.

    `likely_language` is what the rest of the recording is in, as far as it is known: taken where detection is unsure.
    """

    language: str | None = None
    task: str = "transcribe"
    prompt: str | None = None
    hotwords: str | None = None
    likely_language: str | None = None


@dataclass(frozen=True, slots=True)
class Transcription:
    """The language, known at once, and the segments, decoded while they are iterated, in order of time."""

    language: str | None
    language_probability: float | None
    segments: Iterator[Segment]


class Engine(Protocol):
    """Anything that holds a loaded model."""

    def close(self) -> None:
        """Let the model go. The engine cannot be used afterwards."""


class Transcriber(Engine, Protocol):
    """Turns speech into timed text."""

    def transcribe(
        self, audio: NDArray[np.float32], clips: Sequence[Clip], options: TranscribeOptions
    ) -> Transcription:
        """Transcribe the clips of `audio`, which has shape (n_samples,), 16 kHz, mono, -1 to 1."""
        ...


class Embedder(Engine, Protocol):
    """Turns texts into vectors whose dot product is their likeness."""

    @property
    def dimensions(self) -> int:
        """Length of each vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that the model reads, its two special tokens included; the rest is ignored."""
        ...

    def embed(
        self, texts: Sequence[str], *, query: bool = False, on_batch: Callable[[], object] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of shape (n, dimensions), each of length 1. `query` marks what searches, not what is found.

        All texts at once, so that the engine can put those together that belong together; it calls `on_batch` after
        each batch, and lets through what that raises.
        """
        ...


class Reranker(Engine, Protocol):
    """Reads a query and a text together, and says how well the text answers."""

    def scores(
        self, query: str, texts: Sequence[str], *, on_batch: Callable[[], object] | None = None
    ) -> NDArray[np.float32]:
        """One score a text, 0 to 1, in their order; shape (n,). `on_batch` as for `Embedder.embed`."""
        ...
