"""The rules of a search: what a query asks for, how two lists of hits become one, and which of them say the same.

The API parses the query here; `core.store.keywords` and `core.store.vectors` each give a list of passages, best first;
`fused` makes one list of both by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009), which needs no
common scale of a cosine and a count of words. A passage that holds few of the query's words counts for less: some list
by words there always is, also where the query has none that the answer has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from core.passages import Passage

RANK_CONSTANT = 20
"""Of the fusion: how little the first places weigh more than those after them. Its authors took 60, for long lists that
are judged as a whole; 10 and 20 found more right passages first (`benchmarks/search_modes.py`)."""

CANDIDATES = 100
"""Passages that each half of a hybrid search gives to the fusion."""

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
"""Ids of passages, best first, each with how much its place is to count: 1, or less."""


def fused(*rankings: Ranking) -> dict[int, float]:
    """Each passage's share of the best score that there is: 1 for the first of all lists, best first.

    Of equal ones the one comes first that the first list has higher.
    """
    best = len(rankings) / (RANK_CONSTANT + 1)
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, (passage_id, weight) in enumerate(ranking, 1):
            scores[passage_id] = scores.get(passage_id, 0.0) + weight / (RANK_CONSTANT + rank) / best
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


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
