"""Lanes and tiers: which queue a chunk waits in, and who may use which.

Pure names and rules. `broker` makes Celery queues of them, `service.processes` starts workers for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
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
"""For what a person waits on: the vector of a search query."""
CONTROL_QUEUE = "control"
"""For Beat's ticks."""

_IO_STAGES = frozenset({Stage.PREPARE, Stage.ASSEMBLE})

TIER_LANE: Mapping[Tier, Lane] = {
    Tier.FREE: Lane.STANDARD,
    Tier.PRO: Lane.EXPRESS,
    Tier.ENTERPRISE: Lane.EXPRESS,
}
"""The lane that a tier pays for; a job may ask for a less urgent one."""


MAX_WAIT_S: Mapping[Lane, float] = {Lane.STANDARD: 600.0, Lane.BATCH: 3600.0}
"""A chunk that has waited so long in its lane moves up one, so that nothing waits for ever behind what is urgent."""


def moves_up() -> Iterator[tuple[str, str, Lane]]:
    """(queue, the queue above it, the lane whose promise it is): inference and io queues alike."""
    for queues in (INFERENCE_QUEUES, IO_QUEUES):
        for (above, queue), lane in zip(itertools.pairwise(queues), list(Lane)[1:], strict=True):
            yield queue, above, lane


def queue_of(stage: Stage, lane: Lane) -> str:
    """The Celery queue for a chunk: GPU lanes infer, `io.` lanes open inputs and stitch results."""
    return f"io.{lane}" if stage in _IO_STAGES else str(lane)


def may_use(tier: Tier, lane: Lane) -> bool:
    """Whether an account of this tier may ask for this lane: its own, or a less urgent one."""
    order = list(Lane)
    return order.index(lane) >= order.index(TIER_LANE[tier])
