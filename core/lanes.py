"""Lanes and tiers by name, and which queue a chunk waits in.

`core.tiers` says what a tier includes and which lane it takes. `broker` makes Celery queues of the lanes,
`service.processes` starts workers for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from enum import StrEnum

from core.job import Stage


class Lane(StrEnum):
    """A queue with a promise about waiting, the most urgent first."""

    EXPRESS = "express"
    STANDARD = "standard"
    BATCH = "batch"


class Tier(StrEnum):
    """An account's plan."""

    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"


INFERENCE_QUEUES = tuple(str(lane) for lane in Lane)
IO_QUEUES = tuple(f"io.{lane}" for lane in Lane)
QUERY_QUEUE = "query"
"""For what a person waits on: the vector of a search query, and the re-ranking of what it found."""
CONTROL_QUEUE = "control"
"""For Beat's ticks."""

_IO_STAGES = frozenset({Stage.PREPARE, Stage.ASSEMBLE})


def moves_up() -> Iterator[tuple[str, str, Lane]]:
    """(queue, the queue above it, the lane whose promise it is): inference and io queues alike."""
    for queues in (INFERENCE_QUEUES, IO_QUEUES):
        for (above, queue), lane in zip(itertools.pairwise(queues), list(Lane)[1:], strict=True):
            yield queue, above, lane


def queue_of(stage: Stage, lane: Lane) -> str:
    """The Celery queue for a chunk: GPU lanes infer, `io.` lanes open inputs and stitch results."""
    return f"io.{lane}" if stage in _IO_STAGES else str(lane)
