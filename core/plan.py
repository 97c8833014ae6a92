"""Where a recording is cut: speech regions become clips, clips become chunks, each as soon as it is known.

Before this, the prepare stage finds the regions in which somebody speaks; after it, each chunk's audio is
stored, and a worker decodes the chunk's clips. A clip is what Whisper sees in one window; a chunk is what a
worker leases. All times are seconds on the media clock.

Nothing here waits for the end of the recording: what comes out depends only on what has gone in, and on one more piece.

The numbers: ten FLEURS utterances of different loudness joined into one recording, each speech region levelled,
Whisper base, int8, beam 5, with timestamps; word error rate English / German, and the clips that were decoded:

    gaps <= 1 s, clips <= 30 s      0.085 / 0.159     8 / 11 clips     (`benchmarks/accuracy.py` measures this one)
    gaps <= 0.5 s                   0.085 / 0.159    10 / 12
    gaps <= 2 s                     0.099 / 0.159     6 /  9
    clips <= 20 s                   0.090 / 0.151     9 / 11

Each clip costs one pass over a full window of 30 s, so of equal ways the one with fewer clips is taken.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MAX_CLIP_S = 30.0
"""Whisper's window; whatever lies beyond it is not heard."""

MAX_GAP_S = 1.0
"""Longest pause inside a clip. After a longer one Whisper may take the clip for finished and skip the rest."""

MAX_SPAN_FACTOR = 3.0
"""A chunk spans at most this many times its target, so that sparse speech does not carry hours of silence along."""


SHORTEST_CHUNK_S, LONGEST_CHUNK_S = 30.0, 600.0
"""Of speech, whatever the speed: less is not worth a lease and a blob, more is too much to lose."""


def chunk_audio_s(speed: float, target_s: float) -> float:
    """Seconds of speech that take about `target_s` to transcribe at so many times real time."""
    return min(max(speed * target_s, SHORTEST_CHUNK_S), LONGEST_CHUNK_S)


@dataclass(frozen=True, slots=True)
class Region:
    """A span in which somebody speaks."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Clip:
    """One window for the model: whole regions where possible, at most `MAX_CLIP_S` long from the first to the last."""

    regions: tuple[Region, ...]

    @property
    def start_s(self) -> float:
        """Where its first region begins."""
        return self.regions[0].start_s

    @property
    def end_s(self) -> float:
        """Where its last region ends."""
        return self.regions[-1].end_s


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """What a worker leases: clips in order. `attempt` is the one of `prepare` that cut it and stored its audio."""

    clips: tuple[Clip, ...]
    attempt: int = 0

    @property
    def start_s(self) -> float:
        """Where its first clip begins."""
        return self.clips[0].start_s

    @property
    def end_s(self) -> float:
        """Where its last clip ends."""
        return self.clips[-1].end_s

    def regions(self) -> Iterator[Region]:
        """The speech of all its clips, in order."""
        return itertools.chain.from_iterable(clip.regions for clip in self.clips)


def pack_clips(
    regions: Iterable[Region], max_clip_s: float = MAX_CLIP_S, max_gap_s: float = MAX_GAP_S
) -> Iterator[Clip]:
    """Pack ordered regions that do not overlap into as few clips as the two limits allow.

    A region is cut only when it alone is longer than `max_clip_s`, then into equal parts.
    """
    packed: list[Region] = []
    for part in (part for region in regions for part in _split(region, max_clip_s)):
        if packed and (part.start_s - packed[-1].end_s > max_gap_s or part.end_s - packed[0].start_s > max_clip_s):
            yield Clip(tuple(packed))
            packed = []
        packed.append(part)
    if packed:
        yield Clip(tuple(packed))


def plan_chunks(clips: Iterable[Clip], target_audio_s: float) -> Iterator[AudioChunk]:
    """Group ordered clips into chunks of at most `target_audio_s` of clip time, but at least one clip each.

    A chunk begins and ends with a clip, so the cut between two chunks lies in the silence between two clips.
    """
    group: list[Clip] = []
    for clip in clips:
        if group and not _fits(group, clip, target_audio_s):
            yield AudioChunk(tuple(group))
            group = []
        group.append(clip)
    if group:
        yield AudioChunk(tuple(group))


def _fits(group: Sequence[Clip], clip: Clip, target_audio_s: float) -> bool:
    audio_s = sum(member.end_s - member.start_s for member in group) + clip.end_s - clip.start_s
    span_s = clip.end_s - group[0].start_s
    return audio_s <= target_audio_s and span_s <= target_audio_s * MAX_SPAN_FACTOR


def _split(region: Region, max_clip_s: float) -> Iterator[Region]:
    """The region itself, or equal parts of it none of which is longer than `max_clip_s`."""
    length_s = region.end_s - region.start_s
    count = max(1, math.ceil(length_s / max_clip_s))
    cuts = [region.start_s + length_s * index / count for index in range(count)] + [region.end_s]
    for start_s, end_s in itertools.pairwise(cuts):
        yield Region(start_s, end_s)
