"""Join small pieces of text into groups that fit a token limit and end where something ends.

`core.passages` cuts a document or a transcript into such pieces and says when a group is complete; the groups that
come back are its passages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

CountTokens = Callable[[str], int]
"""How many tokens the embedding model sees in a text: without its own special tokens, nothing cut off."""

CHARS_PER_TOKEN = 16
"""No more characters than this count as one token. A tokenizer may see one unknown token in a word of any length
(WordPiece does from 100 characters on), and then a page of base64 would be a passage without end."""


class Border(IntEnum):
    """What ends where a unit ends."""

    NONE = 0
    SENTENCE = 1
    PARAGRAPH = 2


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of text that is not cut further. `text` ends with the space that parts it from the next, if any does;
    `begin` and `end` are pages or seconds."""

    text: str
    tokens: int
    begin: float
    end: float
    border: Border


def joined(group: Sequence[Unit]) -> str:
    """The text of a group."""
    return "".join(unit.text for unit in group).strip()


class Ruler:
    """Measures text against the limit, and cuts what is longer.

    Counting the joined text anew for each sentence would be quadratic, so a group is estimated by the sum of its
    units, and only the finished passage is counted exactly.
    """

    def __init__(self, count_tokens: CountTokens, max_tokens: int) -> None:
        self._count_tokens = count_tokens
        self._max_tokens = max_tokens
        self._special = count_tokens("")

    def count(self, text: str) -> int:
        """Tokens, but never fewer than one for `CHARS_PER_TOKEN` characters."""
        return max(self._count_tokens(text), len(text) // CHARS_PER_TOKEN)

    def unit(self, text: str, begin: float, end: float, border: Border) -> Unit:
        """A unit whose text is within the limit."""
        return Unit(text, self.count(text.strip()) - self._special, begin, end, border)

    def estimate(self, group: Sequence[Unit]) -> int:
        """About how many tokens the group's joined text has."""
        return self._special + sum(unit.tokens for unit in group)

    def fits(self, group: Sequence[Unit]) -> bool:
        """Whether the group is probably within the limit."""
        return self.estimate(group) <= self._max_tokens

    def verified(self, groups: Iterable[Sequence[Unit]]) -> Iterator[Sequence[Unit]]:
        """The groups, each in as many parts as the exact count asks for: nearly always one."""
        for group in groups:
            while group:
                size = len(group)
                while size > 1 and self.count(joined(group[:size])) > self._max_tokens:
                    size -= 1
                yield group[:size]
                group = group[size:]

    def cut(self, text: str) -> list[tuple[int, int]]:
        """Spans of `text` without a gap, each within the limit: one if it fits, or else cut where it hurts least.

        Raises ValueError if the limit cannot hold a single character.
        """
        if self.count(text.strip()) <= self._max_tokens:
            return [(0, len(text))]
        if max(map(self.count, set(text))) > self._max_tokens:
            raise ValueError(f"max_tokens={self._max_tokens} cannot hold a single character")
        # Imported here because the API, which only reads passages, must not pay for it.
        from semchunk.semchunk import chunk

        # Not memoized: semchunk would keep every text that it counted for the life of the process.
        pieces = chunk(text, self._max_tokens, self.count, memoize=False, offsets=True)
        starts = [start for start, _ in cast("tuple[list[str], list[tuple[int, int]]]", pieces)[1]]
        return list(zip(starts, [*starts[1:], len(text)], strict=True))


def pack(
    units: Sequence[Unit],
    fits: Callable[[Sequence[Unit]], bool],
    is_complete: Callable[[Sequence[Unit]], bool],
) -> Iterator[Sequence[Unit]]:
    """Groups of units in order: up to where a group is complete, or else to its last good border before it is full."""
    first = 0
    while first < len(units):
        last = first + 1
        while last < len(units) and not is_complete(units[first:last]) and fits(units[first : last + 1]):
            last += 1
        if last < len(units) and not is_complete(units[first:last]):
            last = _last_border(units, first, last)
        yield units[first:last]
        first = last


def _last_border(units: Sequence[Unit], first: int, last: int) -> int:
    """Where to end a full group: after its last sentence, or where it is if no sentence ends in it."""
    ends = (at for at in range(last, first, -1) if units[at - 1].border >= Border.SENTENCE)
    return next(ends, last)
