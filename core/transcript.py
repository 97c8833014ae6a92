"""Timed text and the rules for reading it as one transcript.

The transcribe stage makes segments chunk by chunk and brings each chunk's in order (`in_order`); what is asked for
later (text, language, passages, subtitles) is derived from them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from core.punctuation import ENDS_SENTENCE, joined

SENTENCE_PAUSE_S = 1.2
"""A pause of this length after a sentence begins a paragraph. As Whisper base hears `examples/tides.ogg`, whose text
was written in paragraphs (`scribelane transcribe examples/tides.ogg --format tsv`), sentences of one paragraph lie up
to 0.9 s apart, and paragraphs 1.4 s or more."""

PARAGRAPH_PAUSE_S = 2.0
"""After a pause of this length one begins anyway: a transcript may have no full stops."""

PARAGRAPH_CHARS = 500
"""A paragraph of this length, which is half a minute of speech, ends with its next sentence."""


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


def in_order(segments: Sequence[TranscriptSegment], start_s: float, end_s: float) -> list[TranscriptSegment]:
    """The segments of a chunk from `start_s` to `end_s`, in order of time, with what Whisper's alignment leaves undone.

    None begins before the chunk or ends after it, so those of two chunks are in order as well. Where one ends after the
    next begins, it ends there: beginnings are what a reader jumps to. The words of each are inside it, and none begins
    before the one before it ends.
    """
    ordered = sorted(segments, key=lambda segment: segment.start_s)
    starts = [_within(segment.start_s, start_s, end_s) for segment in ordered]
    return [
        _with_words_inside(replace(segment, start_s=start, end_s=_within(segment.end_s, start, limit)))
        for segment, start, limit in zip(ordered, starts, [*starts, end_s][1:], strict=True)
    ]


def _with_words_inside(segment: TranscriptSegment) -> TranscriptSegment:
    words: list[TranscriptWord] = []
    heard_s = segment.start_s
    for word in segment.words:
        start_s = _within(word.start_s, heard_s, segment.end_s)
        heard_s = _within(word.end_s, start_s, segment.end_s)
        words.append(replace(word, start_s=start_s, end_s=heard_s))
    return replace(segment, words=tuple(words))


def _within(time_s: float, start_s: float, end_s: float) -> float:
    return min(max(time_s, start_s), end_s)


def plain_text(segments: Sequence[TranscriptSegment]) -> str:
    """The transcript as text, a blank line between paragraphs.

    One ends after a sentence if the speaker pauses for `SENTENCE_PAUSE_S` or it has `PARAGRAPH_CHARS`, and wherever the
    pause is `PARAGRAPH_PAUSE_S`. Only where a segment ends is looked at.
    """
    return "\n\n".join(joined(paragraph) for paragraph in _paragraphs(segments))


def _paragraphs(segments: Sequence[TranscriptSegment]) -> Iterator[list[str]]:
    paragraph: list[str] = []
    length, end_s = 0, float("-inf")
    for segment in segments:
        if not (text := " ".join(segment.text.split())):
            continue
        if paragraph and _begins_paragraph(paragraph[-1], length, segment.start_s - end_s):
            yield paragraph
            paragraph, length = [], 0
        paragraph.append(text)
        length += len(text)
        end_s = segment.end_s
    if paragraph:
        yield paragraph


def _begins_paragraph(last: str, length: int, pause_s: float) -> bool:
    if ENDS_SENTENCE.search(last):
        return pause_s >= SENTENCE_PAUSE_S or length >= PARAGRAPH_CHARS
    return pause_s >= PARAGRAPH_PAUSE_S


def spoken_language(heard: Iterable[HeardLanguage]) -> str | None:
    """The language of a recording: each chunk votes with its seconds of speech times its certainty."""
    votes = _votes(heard)
    return max(votes, key=lambda language: votes[language]) if votes else None


def language_probability(heard: Sequence[HeardLanguage]) -> float | None:
    """How much of the speech, 0 to 1, is in the recording's language: the votes for it over all seconds of speech.

    Half of it, at most, of a recording that is half in one language and half in another.
    """
    speech_s = sum(vote.speech_s for vote in heard)
    return max(_votes(heard).values()) / speech_s if speech_s else None


def _votes(heard: Iterable[HeardLanguage]) -> dict[str, float]:
    votes: dict[str, float] = defaultdict(float)
    for vote in heard:
        votes[vote.language] += vote.speech_s * vote.probability
    return votes
