"""Which language a piece of a recording is in: heard where most is said, not where it happens to begin.

`whisper` asks here before it decodes the clips of a chunk. Clips hold speech alone, so an intro of music is not
listened to; and of the clips those with the most speech are, because a model that hears a second of speech guesses.

Ten English and ten German FLEURS utterances, each cut into pieces of one length, Whisper base
(`benchmarks/languages.py`): pieces whose language was heard right, the surest wrong answer, the least sure right one.

    1 s     37 of 40    0.90    0.31
    2 s     38 of 39    0.30    0.52
    3 s     36 of 37    0.29    0.69
    5 s     25 of 25       -    0.96
    8 s     12 of 12       -    0.95
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.engine import Clip

MAX_WINDOWS = 3
"""Clips that are listened to at most: each costs one pass of the encoder."""

SURE = 0.5
"""A language that is at least so probable is taken for heard."""

ENOUGH_S = 2.0
"""Less speech than this is not believed, however sure the model is of it."""


@dataclass(frozen=True, slots=True)
class Detected:
    """A language, and how probable it is by what was listened to."""

    language: str
    probability: float


def detect(clips: Sequence[Clip], probabilities: Callable[[Clip], Mapping[str, float]], likely: str | None) -> Detected:
    """The language of at least one clip. `probabilities` listens to a clip and gives each language's, 0 to 1.

    `likely` is what the recording was heard as so far; it is taken where these clips alone leave it in doubt.
    """
    heard: dict[str, float] = defaultdict(float)
    listened_s = 0.0
    for clip in sorted(clips, key=speech_s, reverse=True)[:MAX_WINDOWS]:
        listened_s += speech_s(clip)
        for language, probability in probabilities(clip).items():
            heard[language] += probability * speech_s(clip)
        language = max(heard, key=lambda language: heard[language])
        sure = heard[language] >= SURE * listened_s
        if sure and listened_s >= ENOUGH_S:
            return Detected(language, heard[language] / listened_s)
    language = likely or language
    return Detected(language, heard[language] / listened_s)


def speech_s(clip: Clip) -> float:
    """How long somebody speaks in a clip."""
    return sum(span.end_s - span.start_s for span in clip.speech) or clip.end_s - clip.start_s
