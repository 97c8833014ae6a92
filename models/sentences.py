"""Makes segments of words: one a sentence, or less where somebody pauses or goes on for long.

Whisper is asked for words without timestamps of its own, because it hears more then (`whisper`), and each word is
aligned with the sound. What comes of a window of 30 s is one long segment; a reader wants sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from models.engine import Segment, Word

PAUSE_S = 1.0
"""Who is silent this long between two words ends a segment, also in a sentence."""

LONGEST_S = 15.0
"""A longer sentence is cut, where a clause ends if it can be."""

_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "।", "؟")
_CLAUSE_ENDS = (",", ";", ":", "，", "、", "；", "：", "،")
_QUOTES = "\"'”’»」』)]"


def sentences(segment: Segment) -> Iterator[Segment]:
    """The segment in sentences, each with its own words and times; as it is, if its words are not known."""
    if not segment.words:
        yield segment
        return
    for sentence in _parted(segment.words):
        for words in _short_enough(sentence):
            text = "".join(word.text for word in words).strip()
            yield replace(segment, start_s=words[0].start_s, end_s=words[-1].end_s, text=text, words=tuple(words))


def _parted(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    first = 0
    for at in range(1, len(words)):
        if _ends_sentence(words[at - 1], words[at]) or words[at].start_s - words[at - 1].end_s > PAUSE_S:
            yield words[first:at]
            first = at
    yield words[first:]


def _ends_sentence(word: Word, following: Word) -> bool:
    """A full stop before a small letter is that of an abbreviation."""
    text = word.text.rstrip(_QUOTES)
    return text.endswith(_SENTENCE_ENDS) and not (text.endswith(".") and following.text.lstrip()[:1].islower())


def _short_enough(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """The words in as many parts as `LONGEST_S` asks for, each cut at a clause near the middle or at the widest gap."""
    if words[-1].end_s - words[0].start_s <= LONGEST_S or len(words) < 2:
        yield words
        return
    cut = _cut(words)
    yield from _short_enough(words[:cut])
    yield from _short_enough(words[cut:])


def _cut(words: Sequence[Word]) -> int:
    """The index of the word before which to cut."""
    middle_s = (words[0].start_s + words[-1].end_s) / 2
    quarter_s = (words[-1].end_s - words[0].start_s) / 4
    inner = [at for at in range(1, len(words)) if abs(words[at].start_s - middle_s) <= quarter_s] or range(
        1, len(words)
    )
    clauses = [at for at in inner if words[at - 1].text.rstrip(_QUOTES).endswith(_CLAUSE_ENDS)]
    if clauses:
        return min(clauses, key=lambda at: abs(words[at].start_s - middle_s))
    return max(inner, key=lambda at: words[at].start_s - words[at - 1].end_s)
