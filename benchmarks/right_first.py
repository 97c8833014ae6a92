"""How often the right passage comes first: one row of the tables of `search_quality` and `search_modes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.judged import Question


@dataclass(frozen=True, slots=True)
class Row:
    """What one way gives. The shares are of all questions; `same`, `some`, `other` are first hits by kind of words."""

    name: str
    first: float
    in_three: float
    reciprocal_rank: float
    same: float
    some: float
    other: float

    def __str__(self) -> str:
        """The shares, as cells of a table in Markdown."""
        shares = (self.first, self.in_three, self.reciprocal_rank, self.same, self.some, self.other)
        return " | ".join(f"{share:.2f}" for share in shares)


def measured(name: str, ranks: Sequence[tuple[Question, float]]) -> Row:
    """The row of each question with the place, from 1, of its first right passage; infinite if there is none."""

    def share(wanted: Sequence[bool]) -> float:
        return sum(wanted) / len(wanted)

    kinds = {words: share([at == 1 for one, at in ranks if one.words == words]) for words in ("same", "some", "other")}
    first, in_three = share([at == 1 for _, at in ranks]), share([at <= 3 for _, at in ranks])
    return Row(name, first, in_three, sum(1 / at for _, at in ranks) / len(ranks), **kinds)
