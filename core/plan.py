"""Where a recording is cut: speech regions become clips, clips become chunks, each as soon as it is known.

Before this, the prepare stage finds the regions in which somebody speaks; after it, each chunk's audio is
stored, and a worker decodes the chunk's clips. A clip is what Whisper sees in one window; a chunk is what a
worker leases. Nothing here waits for the end of the recording: what comes out depends only on what has gone in,
and on one more piece.

There are two clocks. Regions are on the media's. The audio of a chunk is nothing but its regions with the pauses
between them, and of these at most `MAX_PAUSE_S` each: `layout` says where in it each region lies, `media_s` what time
of the media a moment of it is. So a clip holds nearly 30 s of speech however much its speakers pause, and the decoder,
which works a window of 30 s whatever is in it, has fewer windows to work. `docs/accuracy.md` has the measurements.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MAX_CLIP_S = 30.0
"""Whisper's window; whatever lies beyond it is not heard."""

MAX_PAUSE_S = 0.3
"""What is left of a longer pause between two regions of a clip."""

MAX_GAP_S = 5.0
"""A longer pause ends the clip: what is said after it has little to do with what was said before."""

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

    @property
    def length_s(self) -> float:
        """In seconds, on either clock."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Clip:
    """One window for the model: whole regions where possible, in order."""

    regions: tuple[Region, ...]

    @property
    def start_s(self) -> float:
        """Where its first region begins in the media."""
        return self.regions[0].start_s

    @property
    def end_s(self) -> float:
        """Where its last region ends in the media."""
        return self.regions[-1].end_s

    def audio_s(self, max_pause_s: float = MAX_PAUSE_S) -> float:
        """How long its audio is."""
        pauses = (right.start_s - left.end_s for left, right in itertools.pairwise(self.regions))
        return sum(region.length_s for region in self.regions) + sum(min(pause, max_pause_s) for pause in pauses)


@dataclass(frozen=True, slots=True)
class Placed:
    """A region, and the second of its chunk's audio at which it begins."""

    region: Region
    at_s: float

    @property
    def until_s(self) -> float:
        """Where in the audio it ends."""
        return self.at_s + self.region.length_s


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """What a worker leases: clips in order, one after the other in the chunk's audio.

    `attempt` is the one of `prepare` that cut it and stored its audio, with pauses of at most `max_pause_s`.
    """

    clips: tuple[Clip, ...]
    attempt: int = 0
    max_pause_s: float = MAX_PAUSE_S

    @property
    def start_s(self) -> float:
        """Where its first clip begins in the media."""
        return self.clips[0].start_s

    @property
    def end_s(self) -> float:
        """Where its last clip ends in the media."""
        return self.clips[-1].end_s

    @property
    def audio_s(self) -> float:
        """How long its audio is."""
        return self.layout()[-1][-1].until_s

    def layout(self) -> Sequence[Sequence[Placed]]:
        """Where in the audio the regions of each clip are."""
        placed: list[list[Placed]] = []
        end_s, until_s = self.start_s, 0.0
        for clip in self.clips:
            placed.append([])
            for region in clip.regions:
                at_s = until_s + min(region.start_s - end_s, self.max_pause_s)
                placed[-1].append(Placed(region, at_s))
                end_s, until_s = region.end_s, at_s + region.length_s
        return placed


class MediaClock:
    """Tells of the moments of a chunk's audio when they were in the media."""

    def __init__(self, chunk: AudioChunk) -> None:
        self._placed = list(itertools.chain.from_iterable(chunk.layout()))
        self._at_s = [placed.at_s for placed in self._placed]

    def begins_s(self, audio_s: float) -> float:
        """Of something that begins: in a pause, when the region after it does."""
        index = self._index(audio_s)
        if audio_s >= self._placed[index].until_s and index + 1 < len(self._placed):
            return self._placed[index + 1].region.start_s
        return self._time_s(index, audio_s)

    def ends_s(self, audio_s: float) -> float:
        """Of something that ends: in a pause, when the region before it does."""
        return self._time_s(self._index(audio_s, before=True), audio_s)

    def in_one_region_s(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Of a word: it was said in the region that has most of it, also where it was aligned with a pause as well."""
        among = self._placed[self._index(start_s) : self._index(end_s, before=True) + 1] or [
            self._placed[self._index(start_s)]
        ]
        placed = max(among, key=lambda one: min(end_s, one.until_s) - max(start_s, one.at_s))
        return self._in(placed, start_s), self._in(placed, end_s)

    def _index(self, audio_s: float, *, before: bool = False) -> int:
        found = bisect_right(self._at_s, audio_s) - 1
        if before and found > 0 and audio_s <= self._at_s[found]:
            found -= 1
        return max(found, 0)

    def _time_s(self, index: int, audio_s: float) -> float:
        return self._in(self._placed[index], audio_s)

    def _in(self, placed: Placed, audio_s: float) -> float:
        return placed.region.start_s + min(max(audio_s - placed.at_s, 0.0), placed.region.length_s)


def pack_clips(
    regions: Iterable[Region], max_clip_s: float = MAX_CLIP_S, max_gap_s: float = MAX_GAP_S
) -> Iterator[Clip]:
    """Pack ordered regions that do not overlap into as few clips as the two limits allow.

    A region is cut only when it alone is longer than `max_clip_s`, then into equal parts.
    """
    packed: list[Region] = []
    for part in (part for region in regions for part in _split(region, max_clip_s)):
        if packed and not _joins(packed, part, max_clip_s, max_gap_s):
            yield Clip(tuple(packed))
            packed = []
        packed.append(part)
    if packed:
        yield Clip(tuple(packed))


def plan_chunks(clips: Iterable[Clip], target_audio_s: float) -> Iterator[AudioChunk]:
    """Group ordered clips into chunks of at most `target_audio_s` of clip time, but at least one clip each.

    The first has `SHORTEST_CHUNK_S`, so that there is soon something to read. A chunk begins and ends with a clip, so
    the cut between two chunks lies in the silence between two clips.
    """
    group: list[Clip] = []
    limit_s = min(SHORTEST_CHUNK_S, target_audio_s)
    for clip in clips:
        if group and sum(member.audio_s() for member in (*group, clip)) > limit_s:
            yield AudioChunk(tuple(group))
            group, limit_s = [], target_audio_s
        group.append(clip)
    if group:
        yield AudioChunk(tuple(group))


def _joins(packed: Sequence[Region], part: Region, max_clip_s: float, max_gap_s: float) -> bool:
    near = part.start_s - packed[-1].end_s <= max_gap_s
    return near and Clip((*packed, part)).audio_s() <= max_clip_s


def _split(region: Region, max_clip_s: float) -> Iterator[Region]:
    """The region itself, or equal parts of it none of which is longer than `max_clip_s`."""
    count = max(1, math.ceil(region.length_s / max_clip_s))
    cuts = [region.start_s + region.length_s * index / count for index in range(count)] + [region.end_s]
    for start_s, end_s in itertools.pairwise(cuts):
        yield Region(start_s, end_s)
