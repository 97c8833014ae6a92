"""What `accuracy` holds the sound path to, as a rule over the rows of its table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.repetition import loops

OURS, ALONE = "scribelane", "alone"
SEQUENTIAL, SEQUENTIAL_VAD, BATCHED = "sequential", "sequential, VAD", "batched"

TOLERANCE = 0.01
"""By which an error rate may be worse than the one that it is held to."""

RAW_FACTOR = 3.0
"""On the raw English join the batched mode makes at least so many times our errors."""

NO_WORSE_THAN_ALONE = ("raw", "levelled")
NO_WORSE_THAN_ANY = ("levelled", "tides", "jfk")

_ROUNDING = 1e-9

_SAME_IN_A_ROW = 6
"""Segments of one text: as many rounds as `models.repetition` takes for a loop within one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way through one recording. `wer` and `cer` are None where there is nothing to understand."""

    case: str
    language: str
    way: str
    audio_s: float
    wer: float | None
    cer: float | None
    times_real_time: float
    cpu_s: float
    loops: int
    segments: int
    text: str


def count_loops(texts: Sequence[str]) -> int:
    """Segments that repeat themselves, and runs of segments that repeat one another."""
    runs = itertools.groupby(text.strip().casefold() for text in texts)
    return sum(map(loops, texts)) + sum(len(list(same)) >= _SAME_IN_A_ROW for _, same in runs)


def broken(rows: Sequence[Row]) -> list[str]:
    """A sentence for each limit that is broken; what was not measured breaks none."""
    rates = {(row.language, row.case, row.way): row.wer for row in rows if row.wer is not None}
    found = [f"{row.language}, {row.case}: {row.loops} loops" for row in rows if row.way == OURS and row.loops]
    for (language, case, way), rate in rates.items():
        if way == OURS:
            found += [
                f"{language}, {case}: {rate:.3f} is above {limit:.3f}, {why}"
                for limit, why in _limits(rates, language, case)
                if rate > limit + _ROUNDING
            ]
    return found


def _limits(rates: dict[tuple[str, str, str], float], language: str, case: str) -> Iterator[tuple[float, str]]:
    alone = rates.get((language, ALONE, ALONE))
    if case in NO_WORSE_THAN_ALONE and alone is not None:
        yield alone + TOLERANCE, "each utterance alone"
    batched = rates.get((language, case, BATCHED))
    if (language, case) == ("en", "raw") and batched is not None:
        yield batched / RAW_FACTOR, "a third of the batched mode"
    others = [
        (rates[key], way) for way in (SEQUENTIAL, SEQUENTIAL_VAD, BATCHED) if (key := (language, case, way)) in rates
    ]
    if case in NO_WORSE_THAN_ANY and others:
        best, way = min(others)
        yield best + TOLERANCE, f"faster-whisper {way}"
