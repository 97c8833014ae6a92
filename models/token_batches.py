"""Which texts go through an embedding model together: those of about one length, as many as a budget of tokens holds.

A batch is a rectangle as wide as its longest text; what the shorter ones do not fill is padding, computed for nothing.
So texts are taken in order of their length, and what is bounded is the rectangle, not the number of texts: four long
texts or forty short ones are about as much work, and take about as much memory. The longest come first, so that a
device that has no room says so at once.
"""

from __future__ import annotations

from collections.abc import Sequence


def longest_first(lengths: Sequence[int]) -> list[int]:
    """The places of texts of so many tokens, in the order in which they are embedded; equals keep theirs."""
    return sorted(range(len(lengths)), key=lambda place: -lengths[place])


def how_many(waiting: int, width: int, budget: int) -> int:
    """How many of the texts that wait go together, in a rectangle of at most `budget` tokens; one always does.

    `width` is the number of tokens of the first, which is the longest.
    """
    return max(1, min(waiting, budget // max(1, width)))
