"""Finds where somebody speaks, so that silence costs nothing and clips begin and end in pauses.

Used on raw audio before anything is levelled or cut; the regions decide both. The detector is the Silero VAD that
faster-whisper ships, on one core of the CPU: 163 s of speech took 0.56 s.

Ten joined FLEURS utterances, levelled by region, Whisper base; word error rate English / German:

    silence 300 ms, padding 200 ms    0.085 / 0.159
    silence 300 ms, padding 100 ms    0.085 / 0.163
    silence 300 ms, padding 300 ms    0.080 / 0.167
    silence 500 ms, padding 200 ms    0.094 / 0.147

The differences are a few words; a short silence keeps regions of one speaker, so that each is levelled by itself.

Listening twice is what a quiet speaker needs. English, clips without long pauses (`benchmarks/accuracy.py`): joined as
they are 0.104 once, 0.075 twice; every second one 30 dB quieter 0.094 and 0.080; all of one loudness 0.075 either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.engine import SAMPLE_RATE_HZ

MIN_SILENCE_MS = 300
"""A shorter pause does not end a region."""

PAD_MS = 200
"""Added on both sides of a region (half the pause where it is shorter), so that soft onsets are kept."""

RMS = 0.1
"""The loudness of speech at the second listening, that at which Whisper hears it as well."""

REACH_S = 1.0
"""What may lie before a region or after it that was too quiet to be heard at the first listening."""

MAX_REGION_S = 30.0
"""A longer region is cut at its last pause of at least 98 ms, because Whisper's window ends there."""


@dataclass(frozen=True, slots=True)
class Region:
    """A span of speech, in seconds on the clock of the array that was searched."""

    start_s: float
    end_s: float


def find_speech(audio: NDArray[np.float32]) -> list[Region]:
    """The spans of `audio`, shape (n_samples,), 16 kHz mono, in which somebody speaks: ordered, apart, padded.

    The detector listens twice. Of a quiet speaker it hears the vowels alone at first; what it has found is brought to
    one loudness, with what lies around it, and then the beginnings and ends are heard as well.
    """
    found = _detect(audio)
    return _detect(_evened(audio, found)) if found else []


def _evened(audio: NDArray[np.float32], regions: Sequence[Region]) -> NDArray[np.float32]:
    """A copy in which each region, and `REACH_S` around it as far as no other is nearer, has an RMS of `RMS`."""
    evened = audio.copy()
    for index, region in enumerate(regions):
        from_s = max(region.start_s - REACH_S, (regions[index - 1].end_s + region.start_s) / 2 if index else 0.0)
        to_s = region.end_s + REACH_S
        if index + 1 < len(regions):
            to_s = min(to_s, (region.end_s + regions[index + 1].start_s) / 2)
        rms = float(np.sqrt(np.mean(np.square(_part(audio, region.start_s, region.end_s), dtype=np.float64))))
        if rms > 0.0:
            near = _part(evened, from_s, to_s)
            np.clip(near * (RMS / rms), -1.0, 1.0, out=near)
    return evened


def _part(audio: NDArray[np.float32], start_s: float, end_s: float) -> NDArray[np.float32]:
    """A view of the samples between two times."""
    return audio[round(max(start_s, 0.0) * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)]


def _detect(audio: NDArray[np.float32]) -> list[Region]:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(
        min_silence_duration_ms=MIN_SILENCE_MS, speech_pad_ms=PAD_MS, max_speech_duration_s=MAX_REGION_S
    )
    found = get_speech_timestamps(audio, options)
    return [Region(span["start"] / SAMPLE_RATE_HZ, span["end"] / SAMPLE_RATE_HZ) for span in found]
