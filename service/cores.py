"""How the cores of a CPU are divided among the processes that infer on it. `service.processes` asks here.

Two processes of one thread each get through about a fifth more than one of two threads (`benchmarks.cpu_threads`,
docs/performance.md), but each holds the models for itself, and a recording of one chunk is worked by one of them. So
there are as many processes as cores, until memory or their number speaks against it; threads take up the other cores.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MOST = 4
"""Processes that are begun unasked. Measured on two cores only: beyond four, threads are the careful choice."""

PROCESS_BYTES = 1024**3
"""Taken to be what a process with `base` and an embedding model holds; half of the memory is there for all of them."""

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Machine:
    """What this process may use of its machine."""

    cores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Division:
    """So many processes of so many threads each."""

    processes: int
    threads: int


def this_machine() -> Machine:
    """The cores that this process may run on and the memory of the machine, or of its container where that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(cores, _container_cores() or cores)
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(cores, min(memory_bytes, _container_bytes() or memory_bytes))


def divide(machine: Machine, processes: int = 0, threads: int = 0) -> Division:
    """What the operator asked for, and for each 0 what fits the rest."""
    if not processes:
        fit = min(MOST, machine.cores // threads if threads else machine.cores)
        processes = max(1, min(fit, machine.memory_bytes // 2 // PROCESS_BYTES))
    return Division(processes, threads or max(1, machine.cores // processes))


def _container_cores() -> int | None:
    """Of a quota such as `150000 100000` (microseconds in each so many): the cores that it keeps busy, rounded up."""
    try:
        quota, period = map(int, _CGROUP_QUOTA.read_text().split())
    except (OSError, ValueError):  # as below
        return None
    return max(1, -(-quota // period))


def _container_bytes() -> int | None:
    try:
        return int(_CGROUP_LIMIT.read_text())
    except (OSError, ValueError):  # no control group of version 2, or one without a limit: `max`
        return None
