"""The stages of a job: each is a function from a claimed chunk to a result.

A stage reads its chunk's blob or rows, works without an open transaction, calls `lease.progress()` at every
step, and returns a `core.store.results` value; `workers.attempts` stores it. It raises a `JobError` when the
input is at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.job import Stage
from core.store.chunks import Claim
from core.store.results import Result
from workers.lease import Lease
from workers.stages.assemble import assemble
from workers.stages.context import Context
from workers.stages.embed import embed
from workers.stages.prepare import prepare
from workers.stages.transcribe import transcribe

STAGES: Mapping[Stage, Callable[[Context, Claim, Lease], Result]] = {
    Stage.PREPARE: prepare,
    Stage.TRANSCRIBE: transcribe,
    Stage.EMBED: embed,
    Stage.ASSEMBLE: assemble,
}
