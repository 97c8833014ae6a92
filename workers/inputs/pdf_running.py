"""Finds what is printed on page after page: running heads, and footers such as "Page 3 of 12".

It would otherwise stand in the middle of a sentence that runs on, and be found by each search for the title. `pdf`
shows the pages one after another, and asks again when all were seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from core.passages import Page

EDGE_LINES = 2
"""So many lines at the head, and at the foot, may be repeated ones."""
FEWEST = 3
"""On so many pages a line is repeated."""
FEWEST_NUMBERS = 2
"""Of lone numbers that count along with the pages, so many are page numbers."""
NEAR = 2
"""Pages from one to the next: left and right pages often have heads of their own."""

_MAX_LINE = 200  # a longer one is a paragraph
_NUMBER = re.compile(r"\d{1,5}", re.ASCII)
_AROUND = " \t-–—|·•"
_ORNAMENT = re.compile(r"[\W_]*")
_COUNTING = "\x00"

Key = tuple[bool, str]


class RunningLines:
    """What the edges of the pages seen so far have in common."""

    def __init__(self) -> None:
        self._runs: dict[Key, tuple[int, int, int]] = {}  # last page, length of the run up to it, longest run

    def see(self, page: Page) -> None:
        """Take in a page; they come in order."""
        lines = page.text.splitlines()
        for at in (*_head(lines), *_foot(lines)):
            for key in _keys(page, lines, at):
                last, run, longest = self._runs.get(key, (0, 0, 0))
                if last != page.number:
                    run = run + 1 if page.number - last <= NEAR else 1
                    self._runs[key] = page.number, run, max(longest, run)

    def without(self, page: Page) -> Page:
        """The page without them. One that would hold nothing else is kept, unless it holds page numbers alone."""
        lines = page.text.splitlines()
        first, end = 0, len(lines)
        while first < min(EDGE_LINES, end) and self._repeats(page, lines, first):
            first += 1
        while end > max(first, len(lines) - EDGE_LINES) and self._repeats(page, lines, end - 1):
            end -= 1
        if first == 0 and end == len(lines):
            return page
        text = "\n".join(lines[first:end]).strip()
        if not text and any(re.search(r"[^\W\d_]", line) for line in lines):
            return page
        return replace(page, text=text)

    def _repeats(self, page: Page, lines: list[str], at: int) -> bool:
        return any(
            self._runs.get(key, (0, 0, 0))[2] >= (FEWEST_NUMBERS if key[1].startswith(_COUNTING) else FEWEST)
            for key in _keys(page, lines, at)
        )


def _head(lines: list[str]) -> range:
    return range(min(EDGE_LINES, len(lines)))


def _foot(lines: list[str]) -> range:
    return range(max(EDGE_LINES, len(lines) - EDGE_LINES), len(lines))


def _keys(page: Page, lines: list[str], at: int) -> Iterator[Key]:
    """What the line may have in common with that of another page: its words, with a number that counts along or not.

    The first and the last line are at both edges where a page has few lines, so the side is told by the nearer end.
    """
    line = lines[at].strip(_AROUND)
    if not line or len(line) > _MAX_LINE:
        return
    is_head = at < len(lines) - 1 - at
    words = " ".join(line.casefold().split())
    if _NUMBER.fullmatch(line):
        yield False, f"{_COUNTING}{int(line) - page.number}"  # at the head of some pages, at the foot of others
        return
    if re.search(r"[^\W\d_]", words):
        yield is_head, words
    for found in _NUMBER.finditer(words):
        rest = words[: found.start()], words[found.end() :]
        if not all(map(_ORNAMENT.fullmatch, rest)):
            yield is_head, f"{rest[0]}{_COUNTING}{int(found[0]) - page.number}{_COUNTING}{rest[1]}"
