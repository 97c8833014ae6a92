"""What the service does when an attempt at a chunk ends without a result: the one table of it.

    how the attempt ended                       tried again   charged   pause           the worker process
    a permanent error (media, quota, timeout)   no            yes                       goes on
    `internal`                                  yes           yes       3, 9, … s       goes on
    `out_of_memory`                             yes           yes       3, 9, … s       is replaced
    `device_failed`                             yes           yes       0, 6, … s       is replaced
    the process died, or went silent            yes           yes       0, 6, … s       is replaced by its parent
    told to stop, and out of time for it        yes           no        none            ends

A chunk that was charged `max_failures` times fails its job. The first end of a process may be anybody's fault, so its
chunk goes on at once. Pauses vary by a half, so that what failed together does not come back together.
`core.store.completion` carries it out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import ChunkCrashed, DeviceBroken, Internal, JobError, OutOfMemory

_BASE_S = 3.0
_JITTER = 0.5


@dataclass(frozen=True, slots=True)
class Remedy:
    """`again`: try the chunk again. `at_once`: the first time without a pause. `new_process`: in a new process."""

    again: bool = True
    at_once: bool = False
    new_process: bool = False


_PERMANENT = Remedy(again=False)
_REMEDIES: Mapping[type[JobError], Remedy] = {
    Internal: Remedy(),
    OutOfMemory: Remedy(new_process=True),
    DeviceBroken: Remedy(at_once=True, new_process=True),
    ChunkCrashed: Remedy(at_once=True),
}


def remedy_of(error: JobError) -> Remedy:
    """What follows on an error; whatever the table does not name is permanent."""
    return _REMEDIES.get(type(error), _PERMANENT)


def pause_s(remedy: Remedy, failures: int, spread: float | None = None) -> float:
    """How long a chunk waits after so many failures, this one counted. `spread`, -1 to 1, is drawn where not given."""
    spread = random.uniform(-1, 1) if spread is None else spread
    pause = _BASE_S**failures - (_BASE_S if remedy.at_once else 0.0)
    return pause * (1 + _JITTER * spread)
