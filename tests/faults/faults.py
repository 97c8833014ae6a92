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
from uuid import UUID

import httpx
import redis

from core.job import Stage
from core.lanes import INFERENCE_QUEUES
from service import processes
from tests.faults.deployment import INFERENCE, SECOND, Deployment
from tests.faults.moments import Caught, Moment
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
        until(lambda: attempts(whole, caught.chunk_id) > 1, within_s=120)
        whole.signal(signal.SIGCONT, *children)
        until(lambda: whole.client().job(str(caught.job_id)).ended, within_s=120)
        whole.stop(SECOND)

    return resume


def _run_out_of_memory(whole: Deployment, _: Caught) -> Undo:
    """The process may take no byte more of address space than it has."""
    (child,) = whole.children(INFERENCE)
    taken = int(Path(f"/proc/{child}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(child, resource.RLIMIT_AS, (taken, taken))
    # It fails at the first chunk for which its memory does not do, and must not be there for another.
    return lambda: until(lambda: child not in whole.children(INFERENCE), within_s=120)


def _second_beat(whole: Deployment, caught: Caught) -> Undo:
    whole.start("beat-2", processes.beat())

    def end() -> None:
        until(lambda: whole.client().job(str(caught.job_id)).ended, within_s=120)
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


def charged(whole: Deployment, caught: Caught) -> tuple[str, int]:
    """Status and failures of the chunk."""
    query = "SELECT status, failures FROM chunks WHERE id = %s"
    with whole.database() as database, database.transaction() as connection:
        row = connection.exec_driver_sql(query, (caught.chunk_id,)).one()
    return row.status, row.failures


def attempts(whole: Deployment, chunk_id: UUID) -> int:
    with whole.database() as database, database.transaction() as connection:
        found = connection.exec_driver_sql("SELECT attempt FROM chunks WHERE id = %s", (chunk_id,)).scalar_one()
    return int(found)


def accepts_work(whole: Deployment) -> bool:
    """The API answers, and so does the database behind it."""
    headers = {"Authorization": f"Bearer {whole.key}"}
    try:
        return httpx.get(f"{whole.url}/v1/usage", headers=headers, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


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
    Fault("the inference child gets no more memory", _run_out_of_memory, quick=(Moment.AT_WORK,)),
    Fault("a second Beat runs", _second_beat),
    Fault("every worker is restarted in turn", _restart_every_worker),
    Fault("everything is told to stop, and started again", _terminate_everything),
    Fault("PostgreSQL is away for 60 s", _take_the_database_away(60.0)),
)
