"""Tells whether what was decoded of a clip holds: nothing made up, nothing repeated, nothing left out.

`whisper` asks here about every clip, decodes again what does not hold, and marks what still does not as doubtful: a
person should look there. Nothing here knows a model; the thresholds are those of the original Whisper decoder where
no other source is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from models.engine import Clip, Doubt, Segment, Span, Word
from models.repetition import loops, without_loops

MIN_AVG_LOGPROB = -1.0
"""Below this mean log probability a decoding has failed."""

MAX_NO_SPEECH_PROB = 0.6
"""Above this, and below the probability just named, what was decoded is silence."""

MAX_UNHEARD_S = 2.0
"""Speech of which no word came for longer was left out. A detector takes breath and applause for shorter speech."""

_WORD_S = 1.5
"""No more of a word counts as heard: the word before what was left out is aligned with all of it."""

_MARGIN_S = 0.3
"""Around a word, which the alignment places a little early or late."""


def failed(segments: Sequence[Segment]) -> bool:
    """Whether these segments of a clip repeat themselves, or are not believed by the model itself."""
    text = " ".join(segment.text for segment in segments)
    return loops(text) or any(segment.avg_logprob < MIN_AVG_LOGPROB for segment in segments)


def is_silence(segment: Segment) -> bool:
    """Whether the model says that nobody speaks, and does not believe what it wrote all the same."""
    return segment.no_speech_prob > MAX_NO_SPEECH_PROB and segment.avg_logprob < MIN_AVG_LOGPROB


def doubted(segments: Sequence[Segment]) -> list[Segment]:
    """What even the last try gave: without silence and loops, of which each phrase is kept once, and marked."""
    heard = [segment for segment in segments if not is_silence(segment)]
    if not loops(" ".join(segment.text for segment in heard)):
        return [_unsure(segment) if segment.avg_logprob < MIN_AVG_LOGPROB else segment for segment in heard]
    kept: list[Segment] = []
    for segment in heard:
        text = without_loops(segment.text)
        if kept and kept[-1].text == text:
            kept[-1] = replace(kept[-1], end_s=segment.end_s, words=())
        else:
            words = segment.words if text == segment.text else ()
            kept.append(replace(segment, text=text, words=words, doubt=Doubt.REPEATED))
    return kept


def _unsure(segment: Segment) -> Segment:
    return replace(segment, doubt=Doubt.UNSURE)


def unheard(segments: Sequence[Segment], clip: Clip) -> list[Span]:
    """The speech of the clip of which no word came."""
    heard = sorted(span for segment in segments for span in _spans(segment))
    found = [gap for speech in _speech(clip) for gap in _without(speech, heard)]
    return [gap for gap in found if gap.end_s - gap.start_s > MAX_UNHEARD_S]


def cut_in_two(clip: Clip) -> list[Clip]:
    """The clip as two of about as much speech each, which the model sees anew; none if it is one stretch of speech."""
    half_s = (clip.start_s + clip.end_s) / 2
    cuts = range(1, len(clip.speech))
    if not cuts:
        return []
    at = min(cuts, key=lambda cut: abs(clip.speech[cut].start_s - half_s))
    return [Clip(speech[0].start_s, speech[-1].end_s, speech) for speech in (clip.speech[:at], clip.speech[at:])]


def _speech(clip: Clip) -> Sequence[Span]:
    return clip.speech or (Span(clip.start_s, clip.end_s),)


def as_it_is(segments: Sequence[Segment], clip: Clip) -> list[Segment]:
    """What the last try gave: `doubted`, and a mark, a segment without text, for speech of which no word came."""
    kept = doubted(segments)
    gaps = unheard(kept, clip) if kept else [Span(clip.start_s, clip.end_s)]
    marks = [Segment(gap.start_s, gap.end_s, "", 0.0, 0.0, 0.0, 0.0, doubt=Doubt.UNHEARD) for gap in gaps]
    return sorted([*kept, *marks], key=lambda segment: segment.start_s)


def over_speech(segments: Sequence[Segment], clip: Clip) -> list[Segment]:
    """The segments without those that lie where nobody speaks."""
    if not clip.speech:
        return list(segments)
    return [
        segment
        for segment in segments
        if any(s.start_s - _MARGIN_S < segment.end_s and segment.start_s < s.end_s + _MARGIN_S for s in clip.speech)
    ]


def in_order(segments: Sequence[Segment], clip: Clip) -> Iterator[Segment]:
    """The segments inside their clip, none beginning before the one before it ends, nor a word before the last."""
    heard_s = clip.start_s
    for segment in segments:
        if segment.doubt is Doubt.UNHEARD:  # it may lie in the middle of another
            yield segment
        elif segment.text:
            start_s = min(max(segment.start_s, heard_s), clip.end_s)
            end_s = min(max(segment.end_s, start_s), clip.end_s)
            heard_s = end_s
            yield replace(segment, start_s=start_s, end_s=end_s, words=tuple(_held(segment, start_s, end_s)))


def _held(segment: Segment, heard_s: float, end_s: float) -> Iterator[Word]:
    """The words inside the segment's times, each from where the one before it ends, or later."""
    for word in segment.words:
        start_s = min(max(word.start_s, heard_s), end_s)
        heard_s = min(max(word.end_s, start_s), end_s)
        yield replace(word, start_s=start_s, end_s=heard_s)


def _spans(segment: Segment) -> Iterator[tuple[float, float]]:
    """When something of the segment is heard."""
    if not segment.words:
        yield segment.start_s, segment.end_s
    for word in segment.words:
        yield word.start_s - _MARGIN_S, min(word.end_s, word.start_s + _WORD_S) + _MARGIN_S


def _without(speech: Span, heard: Sequence[tuple[float, float]]) -> Iterator[Span]:
    """What is left of a span without what is heard of it."""
    from_s = speech.start_s
    for start_s, end_s in heard:
        if start_s > from_s:
            yield Span(from_s, min(start_s, speech.end_s))
        from_s = max(from_s, end_s)
    if from_s < speech.end_s:
        yield Span(from_s, speech.end_s)
