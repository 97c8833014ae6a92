"""What a person should check in a transcript, as warnings of the job: where nothing or nothing certain was heard.

The transcribe stage finds doubts chunk by chunk; neighbours of one kind become one warning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from core.job import JobWarning

NEAR_S = 10.0
"""Doubts of one kind that lie so near to each other are one warning."""

MOST_WARNINGS = 100
"""A job keeps no more, and says so: whoever reads the first hundred knows what the recording is like."""

NOT_ALL = JobWarning("warnings_left_out", "There are more doubtful places in the recording than are listed here.")

_WARNINGS = {
    "unheard": ("speech_unheard", "Somebody seems to speak here, and no words were understood."),
    "unsure": ("text_doubtful", "What was understood here is doubtful."),
    "repeated": ("text_repeated", "The model repeated itself here; something else may have been said."),
}


@dataclass(frozen=True, slots=True)
class Doubted:
    """A span of the media, in seconds, and the kind of doubt, as `models.engine.Doubt` names them."""

    start_s: float
    end_s: float
    kind: str


def warnings(doubted: Iterable[Doubted]) -> list[JobWarning]:
    """A warning for each stretch of doubts of one kind, with its time; the doubts come in order."""
    stretches: list[Doubted] = []
    last: dict[str, int] = {}
    for doubt in doubted:
        at = last.get(doubt.kind)
        if at is not None and doubt.start_s - stretches[at].end_s <= NEAR_S:
            stretches[at] = replace(stretches[at], end_s=max(stretches[at].end_s, doubt.end_s))
        else:
            last[doubt.kind] = len(stretches)
            stretches.append(doubt)
    return [JobWarning(*_WARNINGS[stretch.kind], stretch.start_s, stretch.end_s) for stretch in stretches]
