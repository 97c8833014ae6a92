"""Timed text and the rules for reading it as one transcript.

The transcribe stage makes segments chunk by chunk; what is asked for later (text, language, passages)
is derived from them here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PARAGRAPH_PAUSE_S = 2.0
"""A pause of this length starts a new paragraph in the text."""


@dataclass(frozen=True, slots=True)
class TranscriptWord:
    """One word. Times in seconds on the media clock; `probability` between 0 and 1."""

    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class TranscriptSegment:
    """A stretch of speech, as Whisper reports it. Times in seconds on the media clock."""

    start_s: float
    end_s: float
    text: str
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    temperature: float | None = None
    words: tuple[TranscriptWord, ...] = ()


@dataclass(frozen=True, slots=True)
class HeardLanguage:
    """What one chunk was heard as, and how much speech said so."""

    language: str
    probability: float
    speech_s: float


def plain_text(segments: Sequence[TranscriptSegment]) -> str:
    """The transcript as text: a blank line where the speaker paused for `PARAGRAPH_PAUSE_S`."""
    paragraphs: list[list[str]] = []
    end_s = float("-inf")
    for segment in segments:
        if segment.start_s - end_s >= PARAGRAPH_PAUSE_S:
            paragraphs.append([])
        paragraphs[-1].append(segment.text.strip())
        end_s = segment.end_s
    return "\n\n".join(" ".join(part for part in paragraph if part) for paragraph in paragraphs)


def spoken_language(heard: Iterable[HeardLanguage]) -> str | None:
    """The language of a recording: each chunk votes with its seconds of speech times its certainty."""
    votes: dict[str, float] = defaultdict(float)
    for vote in heard:
        votes[vote.language] += vote.speech_s * vote.probability
    return max(votes, key=lambda language: votes[language]) if votes else None
