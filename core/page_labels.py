"""Page numbers as they are printed: `iii`, `12`, `A-4`.

A PDF may carry them as labels of its pages; `core.passages` cites them and ends a passage where a new series of them
begins.
"""

from __future__ import annotations

import re

_PARTS = re.compile(r"^(?P<prefix>.*?)(?P<arabic>[0-9]+)?$", re.DOTALL)
_ROMAN = re.compile(r"[ivxlcdm]+|[IVXLCDM]+")
_FIRST_ROMAN = ("i", "I")


def restarts(previous: str | None, label: str | None) -> bool:
    """Whether a new series of numbers begins with `label`: after `iv` comes `1`, after `12` comes `A-1` or `1`."""
    if not previous or not label:
        return False
    before, now = _series(previous), _series(label)
    if before[0] != now[0]:
        return True
    return label in _FIRST_ROMAN if now[1] is None else before[1] is not None and now[1] <= before[1]


def _series(label: str) -> tuple[str, int | None]:
    """What stays the same from page to page, and the number where it is written in digits."""
    found = _PARTS.match(label)
    if found is None or found["arabic"] is None:
        roman = _ROMAN.fullmatch(label)
        return ("roman" if roman and label.islower() else "ROMAN" if roman else "other", None)
    return f"arabic:{found['prefix']}", int(found["arabic"])


def span(first: str | None, last: str | None) -> str | None:
    """The label of a passage from one page to another; None if not both are known."""
    if not first or not last:
        return None
    return first if first == last else f"{first}–{last}"
