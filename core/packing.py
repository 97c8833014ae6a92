"""Join small pieces of text into groups that fit a token limit and end where something ends.

`core.page_flow` cuts a document and `core.passages` a transcript into such pieces and says when a group is complete;
the groups that come back are its passages.
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
class Part:
    """What no passage leaves: a chapter, what stands under a heading, a series of page numbers, the turn of a speaker.

    `number` tells the parts of one text apart; `section` is the title of the innermost one that has a title.
    """

    number: int = 0
    section: str | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of text that is not cut further. `text` ends with the space that parts it from the next, if any does;
    `at` is its first character in the whole text; `begin` and `end` are pages or seconds."""

    text: str
    tokens: int
    at: int
    begin: float
    end: float
    border: Border
    part: Part


@dataclass(frozen=True, slots=True)
class Group:
    """Units in a row. The first `carried` of them end the group before this one, too."""

    units: Sequence[Unit]
    carried: int = 0

    @property
    def new(self) -> Sequence[Unit]:
        """What no group before this one holds."""
        return self.units[self.carried :]

    @property
    def text(self) -> str:
        """The text of the group."""
        return joined(self.units)


def joined(units: Sequence[Unit]) -> str:
    """The text of units in a row."""
    return "".join(unit.text for unit in units).strip()


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

    def exceeds(self, text: str) -> bool:
        """Whether the text is longer than a passage may be."""
        return self.count(text) > self._max_tokens

    def tokens(self, text: str) -> int:
        """What a unit with this text adds to a group, in tokens."""
        return self.count(text.strip()) - self._special

    def estimate(self, units: Sequence[Unit]) -> int:
        """About how many tokens the units' joined text has."""
        return self._special + sum(unit.tokens for unit in units)

    def fits(self, units: Sequence[Unit]) -> bool:
        """Whether the units are together probably within the limit."""
        return self.estimate(units) <= self._max_tokens

    def verified(self, groups: Iterable[Group]) -> Iterator[Group]:
        """The groups, each in as many parts as the exact count asks for: nearly always one. What is carried goes
        first."""
        for group in groups:
            units, carried = group.units, group.carried
            while carried and self.exceeds(joined(units)):
                units, carried = units[1:], carried - 1
            while units:
                size = len(units)
                while size > 1 and self.exceeds(joined(units[:size])):
                    size -= 1
                yield Group(units[:size], carried)
                units, carried = units[size:], 0

    def cut(self, text: str) -> list[tuple[int, int]]:
        """Spans of `text` without a gap, each within the limit: one if it fits, or else cut where it hurts least.

        Raises ValueError if the limit cannot hold a single character.
        """
        if not self.exceeds(text.strip()):
            return [(0, len(text))]
        if max(map(self.count, set(text))) > self._max_tokens:
            raise ValueError(f"max_tokens={self._max_tokens} cannot hold a single character")
        # Imported here because the API, which only reads passages, must not pay for it.
        from semchunk.semchunk import chunk

        # Not memoized: semchunk would keep every text that it counted for the life of the process.
        pieces = chunk(text, self._max_tokens, self.count, memoize=False, offsets=True)
        starts = [start for start, _ in cast("tuple[list[str], list[tuple[int, int]]]", pieces)[1]]
        return list(zip(starts, [*starts[1:], len(text)], strict=True))


@dataclass(frozen=True, slots=True)
class Packing:
    """When a group is full, when it is complete before that, and how many tokens of it the next one says again."""

    fits: Callable[[Sequence[Unit]], bool]
    is_complete: Callable[[Sequence[Unit]], bool]
    overlap_tokens: float = 0.0


def pack(units: Iterable[Unit], packing: Packing) -> Iterator[Group]:
    """Groups of units in order: up to where a part ends or the group is complete, or else to its last good border
    before it is full. Within a paragraph, a group begins with the last sentences of the one before it."""
    group = Group(())
    for unit in units:
        while group.new and (size := _size_before(group, unit, packing)) is not None:
            yield Group(group.units[:size], group.carried)
            group = _next_group(group, size, unit, packing)
        group = Group([*group.units, unit], group.carried)
    if group.new:
        yield group


def _size_before(group: Group, unit: Unit, packing: Packing) -> int | None:
    """How many of the group's units to close it with before `unit`; None if that belongs to the group, too."""
    if group.units[-1].part.number != unit.part.number or packing.is_complete(group.new):
        return len(group.units)
    return None if packing.fits([*group.units, unit]) else _last_border(group)


def _last_border(group: Group) -> int:
    """Where to end a full group: after its last sentence, or where it is if no sentence ends in it."""
    ends = (size for size in range(len(group.units), group.carried, -1) if group.units[size - 1].border)
    return next(ends, len(group.units))


def _next_group(group: Group, size: int, unit: Unit, packing: Packing) -> Group:
    """What follows the first `size` units of the group, with as much of those as is said again and leaves room."""
    rest = group.units[size:]
    following = rest or [unit]
    last = group.units[size - 1]
    cuts_thought = last.border < Border.PARAGRAPH and last.part.number == following[0].part.number
    tail = list(_tail(group.units[:size], packing.overlap_tokens)) if cuts_thought else []
    while tail and not packing.fits([*tail, *following]):
        tail = _from_sentence(tail[1:], tail[0])
    return Group([*tail, *rest], len(tail))


def _tail(units: Sequence[Unit], tokens: float) -> Sequence[Unit]:
    """The last whole sentences of a group, never all of it, of no more than so many tokens."""
    tail: Sequence[Unit] = ()
    for first in range(len(units) - 1, 0, -1):
        if sum(unit.tokens for unit in units[first:]) > tokens:
            break
        if units[first - 1].border:
            tail = units[first:]
    return tail


def _from_sentence(units: list[Unit], before: Unit) -> list[Unit]:
    """Without what is left of a sentence that began in `before`."""
    while units and not before.border:
        before, *units = units
    return units
