"""Stretches of speech: segments joined until a sentence ends, and when each character of them is spoken.

Whisper ends a segment where its window ends, or in the middle of a sentence. Who cuts speech where it reads best
(`core.subtitles`) cuts stretches, and has the time of each cut from here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.line_breaks import clean
from core.punctuation import ENDS_SENTENCE, joined
from core.transcript import TranscriptSegment

PAUSE_S = 1.0
"""Who is silent this long ends a stretch, also in a sentence: a cue that stands over a pause is read long before."""

LONGEST_S = 60.0
"""A stretch takes in no further segment after this time. Without punctuation it would have no end."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Characters that are spoken at an even pace."""

    start: int
    end: int
    start_s: float
    end_s: float

    def time_s(self, char: int) -> float:
        """When this character is reached; the nearer end for one outside."""
        share = (char - self.start) / (self.end - self.start)
        return self.start_s + min(max(share, 0.0), 1.0) * (self.end_s - self.start_s)


@dataclass(frozen=True, slots=True)
class Stretch:
    """One line of text and its times, in seconds on the media clock."""

    text: str
    spans: tuple[_Span, ...]

    def begins_s(self, char: int) -> float:
        """When the character of this index is begun; between two words, when the next one is."""
        index = self._last_from(char)
        if char >= self.spans[index].end and index + 1 < len(self.spans):
            index += 1
        return self.spans[index].time_s(char)

    def ended_s(self, char: int) -> float:
        """When all characters before this index (1 at least) have been spoken."""
        return self.spans[self._last_from(char - 1)].time_s(char)

    def _last_from(self, char: int) -> int:
        return max(bisect_right(self.spans, char, key=lambda span: span.start) - 1, 0)


def stretches_of(segments: Iterable[TranscriptSegment]) -> Iterator[Stretch]:
    """The stretches of segments that are in order of time. It holds the segments of one at a time."""
    open_: list[tuple[TranscriptSegment, str]] = []
    for segment in segments:
        if not (text := clean(segment.text)):
            continue
        if open_ and _ends(open_, segment):
            yield _stretch(open_)
            open_ = []
        open_.append((segment, text))
    if open_:
        yield _stretch(open_)


def _ends(open_: Sequence[tuple[TranscriptSegment, str]], following: TranscriptSegment) -> bool:
    last, text = open_[-1]
    pause_s = following.start_s - last.end_s
    long = following.end_s - open_[0][0].start_s > LONGEST_S
    return pause_s >= PAUSE_S or long or ENDS_SENTENCE.search(text) is not None


def _stretch(parts: Sequence[tuple[TranscriptSegment, str]]) -> Stretch:
    whole, spans = "", []
    for segment, text in parts:
        whole = joined([whole, text])
        spans += _spans(segment, text, len(whole) - len(text))
    return Stretch(whole, tuple(spans))


def _spans(segment: TranscriptSegment, text: str, offset: int) -> list[_Span]:
    """A span for each word that was timed and is found in the text; one for the whole segment if there is none."""
    spans: list[_Span] = []
    at = 0
    for word in segment.words:
        spoken = clean(word.text)
        found = text.find(spoken, at) if spoken else -1
        if found >= 0:
            at = found + len(spoken)
            spans.append(_Span(offset + found, offset + at, word.start_s, word.end_s))
    return spans or [_Span(offset, offset + len(text), segment.start_s, segment.end_s)]
