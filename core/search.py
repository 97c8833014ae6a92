"""The rules of a search: what a query asks for, how two lists of hits become one, and which of them say the same.

The API parses the query here; `core.store.search` gives two lists of passages, best first: by the cosine of their
vectors, and by the share of the query's words that they hold. `fused` makes one list of both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from core.passages import Passage

KEYWORD_WEIGHT = 0.5
"""What all of the query's words weigh beside the best vector. By it the most questions of a judged set had the right
passage first (`benchmarks/search_modes.py`, docs/search.md)."""

LEAST_SPREAD = 0.2
"""Between the first and the last of a list of cosines. In a short list they lie close, and say little."""

CANDIDATES = 100
"""Passages that each half of a hybrid search gives to the fusion."""

RERANKED = 30
"""Hits that a cross-encoder reads, at most: each is a forward pass of its own."""

RERANK_UNAVAILABLE = "rerank_unavailable"
"""The warning of an answer whose hits should have been re-ranked, and were not in time."""

_PARTS = re.compile(r'(?P<no>(?<!\S)-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class SearchMode(StrEnum):
    """By what passages are found."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, taken apart: words that make a passage better, phrases that it must hold, and words that it must not."""

    words: str
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def strict(self) -> bool:
        """Whether there are passages that cannot be an answer."""
        return bool(self.phrases or self.excluded)


def parse(query: str) -> Asked:
    """As search engines read it: `"so and so"` must stand there, `-word` must not; `-5` is a number."""
    words, phrases, excluded = [], [], []
    for part in _PARTS.finditer(query):
        text = part["phrase"] if part["phrase"] is not None else part["word"]
        if not _WORD.search(text):
            continue
        if part["no"] and part["word"] and text[:1].isdigit():
            text = f"-{text}"
        elif part["no"]:
            excluded.append(text)
            continue
        words.append(text)
        if part["phrase"] is not None:
            phrases.append(text)
    return Asked(" ".join(words), tuple(phrases), tuple(excluded))


Ranking = Sequence[tuple[int, float]]
"""Ids of passages, best first, each with its score, which is at most 1."""


def fused(semantic: Ranking, keyword: Ranking) -> dict[int, float]:
    """All passages of both lists with their common score, 0 to 1, the best first.

    Cosines say little by themselves: one model's lie between 0.7 and 0.9, another's between 0 and 0.7. So they are
    taken relative to the list, 1 for its first, 0 for its last. The share of words is taken as it is: a list by words
    there always is, also where the query shares none with its answer. Reciprocal rank fusion, which looks at ranks
    alone, found fewer right passages first.
    """
    highest, lowest = (semantic[0][1], semantic[-1][1]) if semantic else (1.0, 0.0)
    spread = max(highest - lowest, LEAST_SPREAD)
    scores = {passage_id: 1 - (highest - score) / spread for passage_id, score in semantic}
    for passage_id, share in keyword:
        scores[passage_id] = scores.get(passage_id, 0.0) + KEYWORD_WEIGHT * share
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    return {passage_id: score / (1 + KEYWORD_WEIGHT) for passage_id, score in ordered}


def reordered(ids: Sequence[int], scores: Mapping[int, float]) -> list[int]:
    """Passages in the order of a re-ranker: those that it scored, the best first, then the others as they were."""
    return sorted(ids, key=lambda passage_id: -scores.get(passage_id, -1.0))


def overlap(one: Passage, other: Passage) -> bool:
    """Whether two passages of one job share text, as neighbours do."""
    first, second = _span(one), _span(other)
    return first is not None and second is not None and first[0] < second[1] and second[0] < first[1]


def _span(passage: Passage) -> tuple[float, float] | None:
    """Its place among the characters, or else in the time, of its job."""
    if passage.char_start is not None and passage.char_end is not None:
        return passage.char_start, passage.char_end
    if passage.start_s is not None and passage.end_s is not None:
        return passage.start_s, passage.end_s
    return None


def words_of(texts: Iterable[str]) -> set[str]:
    """Every word of these texts, as it is written."""
    return {word for text in texts for word in _WORD.findall(text)}


def spans_of(text: str, words: Set[str]) -> list[tuple[int, int]]:
    """Where in the text one of the words stands: from a character to before another."""
    return [match.span() for match in _WORD.finditer(text) if match.group() in words]
