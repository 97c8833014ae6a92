"""What may happen to a deployment, one function a fault. `tests/faults` and `benchmarks/faults.py` strike with them.

A fault strikes while a chunk is held at a moment, and returns as soon as it has struck; `Mended` says what is to be
undone once the moment is over.
"""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis

from core.job import Stage
from core.lanes import INFERENCE_QUEUES
from core.store.session import TRANSACTION_S
from service import processes
from tests.faults import media
from tests.faults.deployment import INFERENCE, SECOND, Deployment
from tests.faults.moments import Caught, Moment
from tests.faults.state import EVERY_S, attempts, await_end, held_still
from tests.waiting import until

PREPARE_MOMENTS = (Moment.BEFORE_CLAIM, Moment.AT_WORK, Moment.BEFORE_COMMIT)
ALL_MOMENTS = tuple(Moment)

Undo = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """`strike` returns what is to be done when the moment is over; `worker` is who is held at it."""

    name: str
    strike: Callable[[Deployment, Caught], Undo]
    stage: Stage = Stage.TRANSCRIBE
    moments: tuple[Moment, ...] = (Moment.AT_WORK,)
    quick: tuple[Moment, ...] = ()
    """The moments that `make test` looks at too."""
    others: int = 0
    """Jobs that were submitted just before the one that is held."""
    fresh: bool = False
    """Whether it strikes a worker whose process has done nothing yet."""

    @property
    def worker(self) -> str:
        return "io" if self.stage is Stage.PREPARE else INFERENCE


def _nothing() -> None:
    """There is nothing to undo."""


def _kill(name: str) -> Callable[[Deployment, Caught], Undo]:
    def strike(whole: Deployment, _: Caught) -> Undo:
        whole.kill(name)
        return _nothing

    return strike


def _kill_children(name: str) -> Callable[[Deployment, Caught], Undo]:
    def strike(whole: Deployment, _: Caught) -> Undo:
        whole.kill_children(name)
        return _nothing

    return strike


def _kill_postgres(whole: Deployment, _: Caught) -> Undo:
    pid = int((whole.folder / "postgres" / "postmaster.pid").read_text().split()[0])
    whole.signal(signal.SIGKILL, pid)
    return _nothing


def _kill_valkey(whole: Deployment, _: Caught) -> Undo:
    with redis.Redis.from_url(whole.environment["SCRIBELANE_BROKER_URL"]) as broker:
        info: dict[str, int] = broker.info("server")
    whole.signal(signal.SIGKILL, info["process_id"])
    return _nothing


def _flush_the_broker(whole: Deployment, _: Caught) -> Undo:
    with redis.Redis.from_url(whole.environment["SCRIBELANE_BROKER_URL"]) as broker:
        broker.flushall()
    return _nothing


def _half_open_to_valkey(whole: Deployment, _: Caught) -> Undo:
    assert whole.to_valkey.go_dead()
    return _nothing


def _half_open_to_postgres(whole: Deployment, _: Caught) -> Undo:
    assert whole.to_postgres.go_dead()
    return _nothing


def _stop_past_the_lease(whole: Deployment, caught: Caught) -> Undo:
    """Another worker does the chunk meanwhile; the stopped one then delivers a result that nobody wants any more."""
    children = whole.children(INFERENCE)
    whole.signal(signal.SIGSTOP, *children)
    whole.start(SECOND, processes.inference_worker("cpu", INFERENCE_QUEUES))

    def resume() -> None:
        until(lambda: attempts(whole, caught.chunk_id) > 1, within_s=120, every_s=EVERY_S)
        whole.signal(signal.SIGCONT, *children)
        await_end(whole, caught.job_id)
        whole.stop(SECOND)

    return resume


def _stop_within_a_transaction(whole: Deployment, caught: Caught) -> Undo:
    """The server grants it the lock that it waits for, and it stands still with it until the server takes it away."""
    children = whole.children(INFERENCE)
    whole.signal(signal.SIGSTOP, *children)
    begun = attempts(whole, caught.chunk_id)
    whole.start(SECOND, processes.inference_worker("cpu", INFERENCE_QUEUES))

    def resume() -> None:
        try:
            until(lambda: held_still(whole, caught.job_id), every_s=EVERY_S)
            until(lambda: attempts(whole, caught.chunk_id) > begun, within_s=TRANSACTION_S + 60, every_s=EVERY_S)
        finally:
            whole.signal(signal.SIGCONT, *children)  # it goes on to commit what another has begun again
        await_end(whole, caught.job_id)
        whole.stop(SECOND)

    return resume


def _run_out_of_memory(whole: Deployment, _: Caught) -> Undo:
    """The process has more address space than it may, and nothing set aside from earlier work: it gets no byte more."""
    (child,) = whole.children(INFERENCE)
    taken = int(Path(f"/proc/{child}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(child, resource.RLIMIT_AS, (taken // 2, taken // 2))
    # It fails at the first chunk for which its memory does not do, and must not be there for another.
    return lambda: until(lambda: child not in whole.children(INFERENCE), within_s=120)


def _second_beat(whole: Deployment, caught: Caught) -> Undo:
    whole.start("beat-2", processes.beat())

    def end() -> None:
        await_end(whole, caught.job_id)
        whole.stop("beat-2")

    return end


def _restart_every_worker(whole: Deployment, _: Caught) -> Undo:
    """One after the other, as an update does."""
    for name in ("io", INFERENCE, "beat"):
        whole.stop(name)
        whole.start_again(name)
        whole.await_workers(name)
    return _nothing


def _terminate_everything(whole: Deployment, _: Caught) -> Undo:
    """All at once, as a machine that is shut down does."""
    names = ("api", "beat", "io", INFERENCE)
    whole.stop(*names)
    whole.stop_postgres()
    whole.start_postgres()
    for name in names:
        whole.start_again(name)
    return _nothing


def _take_the_database_away(away_s: float) -> Callable[[Deployment, Caught], Undo]:
    def strike(whole: Deployment, _: Caught) -> Undo:
        whole.stop_postgres()
        time.sleep(away_s)  # not a wait for a state: the length of the absence is what is tried
        whole.start_postgres()
        return _nothing

    return strike


FAULTS = (
    Fault(
        "the inference child is killed",
        _kill_children(INFERENCE),
        moments=ALL_MOMENTS,
        quick=(Moment.BEFORE_CLAIM, Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT),
    ),
    Fault("the inference worker is killed", _kill(INFERENCE), moments=ALL_MOMENTS),
    Fault("the io child is killed", _kill_children("io"), Stage.PREPARE, PREPARE_MOMENTS),
    Fault("the io worker is killed", _kill("io"), Stage.PREPARE, PREPARE_MOMENTS, (Moment.AT_WORK,)),
    Fault("Beat is killed", _kill("beat")),
    Fault("the API is killed", _kill("api"), quick=(Moment.AT_WORK,)),
    Fault("PostgreSQL is killed", _kill_postgres, moments=ALL_MOMENTS[1:], quick=(Moment.BEFORE_COMMIT,)),
    Fault("Valkey is killed", _kill_valkey, moments=ALL_MOMENTS),
    Fault("the broker is flushed", _flush_the_broker, moments=ALL_MOMENTS, quick=(Moment.BEFORE_CLAIM,)),
    Fault("connections to Valkey go dead", _half_open_to_valkey, moments=(Moment.AT_WORK, Moment.AFTER_COMMIT)),
    Fault("connections to PostgreSQL go dead", _half_open_to_postgres, moments=(Moment.AT_WORK, Moment.BEFORE_COMMIT)),
    Fault(
        "the inference child stands still past its lease",
        _stop_past_the_lease,
        moments=(Moment.AT_WORK,),
        quick=(Moment.AT_WORK,),
    ),
    Fault(
        "the inference child stands still with a lock",
        _stop_within_a_transaction,
        moments=(Moment.BEFORE_CLAIM, Moment.BEFORE_COMMIT),
    ),
    Fault("the inference child gets no more memory", _run_out_of_memory, quick=(Moment.AT_WORK,), fresh=True),
    Fault("a second Beat runs", _second_beat),
    Fault("every worker is restarted in turn", _restart_every_worker, others=3),
    Fault("everything is told to stop, and started again", _terminate_everything, others=3),
    Fault(
        "the media store is away from the io worker",
        media.take_away,
        Stage.PREPARE,
        (Moment.BEFORE_CLAIM, Moment.BEFORE_COMMIT),
    ),
    Fault("the media store is away from the inference worker", media.take_away),
    Fault("PostgreSQL is away for 60 s", _take_the_database_away(60.0)),
)
