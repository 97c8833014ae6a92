"""The processes of a deployment as command lines: what `scribelane api`, `worker` and `beat` turn into.

`up` starts them as children; the single commands become them. The workers are started by name, through
Celery's own program, so nothing here imports what they import.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import Misconfigured
from core.lanes import CONTROL_QUEUE, INFERENCE_QUEUES, IO_QUEUES, QUERY_QUEUE
from service.cores import Division, divide, this_machine

IO_CHILDREN = 2
"""Inputs opened at once by one io worker, so that one long recording does not keep others waiting."""

_KNOWN = (*INFERENCE_QUEUES, QUERY_QUEUE)


@dataclass(frozen=True, slots=True)
class Command:
    """A command line and what it adds to the environment."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def api(host: str, port: int) -> Command:
    """The API on uvicorn."""
    argv = [sys.executable, "-m", "uvicorn", "service.app:create_app", "--factory"]
    argv += ["--host", host, "--port", str(port), "--log-level", "warning", "--timeout-graceful-shutdown", "10"]
    return Command(argv)


def inference_worker(device: str, lanes: Sequence[str], division: Division | None = None) -> Command:
    """The inference worker of one device: `cpu` or `cuda:N`. The order of the lanes is their urgency.

    It infers in one process, but on a CPU in as many as `division` says.
    """
    unknown = [lane for lane in lanes if lane not in _KNOWN]
    if unknown or not lanes:
        raise Misconfigured(f"No lane named {', '.join(unknown)!r}; there are {', '.join(_KNOWN)}.")
    if QUERY_QUEUE in lanes and len(lanes) > 1:
        raise Misconfigured(f"A worker for {QUERY_QUEUE} takes nothing else, or a search would wait behind a chunk.")
    ordered = [lane for lane in _KNOWN if lane in lanes]
    environment, children = _pin(device), 1
    if division is not None and device == "cpu" and QUERY_QUEUE not in lanes:
        environment["SCRIBELANE_THREADS"], children = str(division.threads), division.processes
    return _celery("worker", ordered, children=children, environment=environment)


def cpu_division() -> Division:
    """How this machine's CPU is divided among inference processes, by the operator's settings or by what it has."""
    return divide(this_machine(), _asked("CPU_WORKERS"), _asked("THREADS"))


def io_worker() -> Command:
    """The worker that opens inputs and stitches results."""
    return _celery("io", IO_QUEUES, children=IO_CHILDREN, environment=_pin("cpu"))


def query_worker() -> Command:
    """The worker that turns search queries into vectors; it keeps the model warm on the CPU."""
    return _celery("query", [QUERY_QUEUE], children=1, environment={**_pin("cpu"), "SCRIBELANE_THREADS": "1"})


def beat() -> Command:
    """Beat and, in the same process, the worker for its ticks: upkeep never waits behind a job."""
    extra = ["--beat", "--scheduler", "celery.beat:Scheduler", "--pool", "solo"]
    return _celery("beat", [CONTROL_QUEUE], children=1, environment=_pin("cpu"), extra=extra)


def _celery(
    name: str,
    queues: Sequence[str],
    *,
    children: int,
    environment: Mapping[str, str],
    extra: Sequence[str] = (),
) -> Command:
    worker_id = f"{name}-{secrets.token_hex(3)}@{socket.gethostname()}"
    argv = [sys.executable, "-m", "celery", "--app", "workers.celery_app", "--quiet", "worker"]
    argv += ["--queues", ",".join(queues), "--concurrency", str(children), "--hostname", worker_id]
    argv += ["--without-gossip", "--without-mingle", *extra]
    own = {
        "SCRIBELANE_WORKER_ID": worker_id,
        "SCRIBELANE_QUEUES": ",".join(queues),
        "SCRIBELANE_THREADS": _threads(),
        **environment,
    }
    own.setdefault("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS") or own["SCRIBELANE_THREADS"])
    return Command(argv, own)


def shown_gpus(visible: str) -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES shows; as for CUDA, a negative number ends the list."""
    return list(itertools.takewhile(lambda gpu: not gpu.startswith("-"), filter(None, visible.split(","))))


def _pin(device: str) -> dict[str, str]:
    """The environment that shows a worker its own device and no other."""
    if device == "cpu":
        return {"SCRIBELANE_DEVICE": device, "CUDA_VISIBLE_DEVICES": ""}
    kind, _, index = device.partition(":")
    if kind != "cuda" or not index.isdigit():
        raise Misconfigured(f"No device {device!r}; use cpu, or cuda:0, cuda:1, …")
    # Where the container or the operator shows some GPUs only, `cuda:N` is the N-th of those.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    shown = shown_gpus(visible or "")
    if visible is not None and int(index) >= len(shown):
        raise Misconfigured(f"No device {device!r}: CUDA_VISIBLE_DEVICES shows {len(shown)}.")
    return {"SCRIBELANE_DEVICE": device, "CUDA_VISIBLE_DEVICES": shown[int(index)] if shown else index}


def _threads() -> str:
    """As many as the operator says, else as many as there are cores for this process."""
    return str(_asked("THREADS") or this_machine().cores)


def _asked(name: str) -> int:
    """A number that the operator set, 0 if none. Raises `Misconfigured`."""
    asked = os.environ.get(f"SCRIBELANE_{name}", "").strip() or "0"
    if not asked.isdecimal():
        raise Misconfigured(f"SCRIBELANE_{name} is a number, not {asked!r}.")
    return int(asked)
