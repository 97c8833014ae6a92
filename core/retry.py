"""What the service does when an attempt at a chunk ends without a result: the one table of it.

    how the attempt ended                       tried again   charged   pause           the worker process
    a permanent error (media, quota, timeout)   no            yes                       goes on
    `internal`, `download_failed`               yes           yes       3, 9, … s       goes on
    `out_of_memory`                             yes           yes       3, 9, … s       is replaced
    `device_failed`                             yes           yes       0, 6, … s       is replaced
    the process died, or went silent            yes           yes       0, 6, … s       is replaced by its parent
    `store_unavailable` (media, rows, disk)     yes           no        3, 9, … 60 s    goes on
    told to stop, and out of time for it        yes           no        none            ends

A chunk that was charged `max_failures` times fails its job. What is nobody's fault is not charged, a thousand times:
with its pauses that is most of a day. The first end of a process may be anybody's fault, so its chunk goes on at once.
Pauses vary by a half, so that what failed together does not come back together. `core.store.completion` carries it out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import ChunkCrashed, DeviceBroken, DownloadFailed, Internal, JobError, OutOfMemory, StoreUnavailable

_BASE_S = 3.0
_LONGEST_S = 60.0
_JITTER = 0.5
UNCHARGED_TIMES = 1000
LONGEST_PAUSE_S = _LONGEST_S * (1 + _JITTER)


@dataclass(frozen=True, slots=True)
class Remedy:
    """`again`: try the chunk again. `at_once`: the first time without a pause. `new_process`: in a new process."""

    again: bool = True
    charged: bool = True
    at_once: bool = False
    new_process: bool = False


_PERMANENT = Remedy(again=False)
_REMEDIES: Mapping[type[JobError], Remedy] = {
    Internal: Remedy(),
    DownloadFailed: Remedy(),
    OutOfMemory: Remedy(new_process=True),
    DeviceBroken: Remedy(at_once=True, new_process=True),
    ChunkCrashed: Remedy(at_once=True),
    StoreUnavailable: Remedy(charged=False),
}


def remedy_of(error: JobError) -> Remedy:
    """What follows on an error; whatever the table does not name is permanent."""
    return _REMEDIES.get(type(error), _PERMANENT)


@dataclass(frozen=True, slots=True)
class Tries:
    """What a chunk has behind it, since its job was last begun: attempts that it was charged for, and others."""

    failures: int
    uncharged: int


@dataclass(frozen=True, slots=True)
class NextTry:
    """When a chunk is tried again, and whether the attempt that ended is charged to it."""

    pause_s: float
    charged: bool


def next_try(error: JobError, tries: Tries, *, max_failures: int, spread: float | None = None) -> NextTry | None:
    """What comes after an attempt that ended like this; None if nothing does, and the job fails.

    `spread`, -1 to 1, is drawn where not given.
    """
    remedy = remedy_of(error)
    charged = remedy.charged or tries.uncharged >= UNCHARGED_TIMES
    failures, uncharged = tries.failures + charged, tries.uncharged + 1
    if not remedy.again or failures >= max_failures:
        return None
    pause_s = min(_BASE_S ** min(failures if charged else uncharged, 9), _LONGEST_S)
    if remedy.at_once:
        pause_s -= _BASE_S
    spread = random.uniform(-1, 1) if spread is None else spread
    return NextTry(pause_s * (1 + _JITTER * spread), charged)
