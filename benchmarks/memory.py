"""The memory of each process of a service by name, and whether it grows with the work.

What is counted is a process's anonymous memory (`Anonymous` in `/proc/PID/smaps_rollup`): what it allocated and still
holds. Pages of files, such as libraries and weights, belong to the system, which takes them back when it needs them.

What a process needs for the input in work comes and goes; what it keeps is the least that it held in a while. That must
not grow.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

OPENER = "opener of one input"
"""A process for each input, which ends with it, and so cannot grow."""


Sample = tuple[int, int]
"""How many chunks were done, and KiB held then."""

_SHOWN = (0.1, 0.5, 1.0)
_NEAR = 5
_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Growth:
    """What one process kept, in KiB, at a tenth of the work, at half and at the end, and its growth from then on.

    `most_kib` is the most that it ever held.
    """

    process: str
    early_kib: float
    half_kib: float
    end_kib: float
    most_kib: float
    grows_kib: float
    """Per thousand chunks."""
    flat: bool


class Watch:
    """Samples of every process below one, by its name."""

    def __init__(self, root: int) -> None:
        self._root = psutil.Process(root)
        self.samples: dict[str, list[Sample]] = defaultdict(list)

    def sample(self, chunks: int) -> None:
        """Look at all processes now. Of those of one name (PostgreSQL's, one for each connection) the mean counts."""
        held: dict[str, list[int]] = defaultdict(list)
        for pid, name in roles(self._root).items():
            if kib := anonymous_kib(pid):
                held[name].append(kib)
        for name, each in held.items():
            self.samples[name].append((chunks, sum(each) // len(each)))

    def growth(self, limit_kib: float) -> list[Growth]:
        """Every process that was seen throughout. Flat: it grows by at most `limit_kib` in a thousand chunks."""
        last = max((samples[-1][0] for samples in self.samples.values()), default=0)
        found = [_growth(name, samples, last, limit_kib) for name, samples in sorted(self.samples.items())]
        return [one for one in found if one is not None]


class Peak:
    """The most that the processes below one held at once, in MB (10^6 bytes), while the block lasts.

    `io_mb` is that of the io worker, its children and the openers of inputs.
    """

    def __init__(self, pid: int) -> None:
        self.most_mb = self.io_mb = 0.0
        self._root = psutil.Process(pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            with suppress(psutil.Error):  # it has ended meanwhile
                held = [(role, anonymous_kib(pid)) for pid, role in roles(self._root).items()]
                io = sum(kib for role, kib in held if role.startswith("io") or role == OPENER)
                self.most_mb = max(self.most_mb, sum(kib for _, kib in held) * 1024 / 1e6)
                self.io_mb = max(self.io_mb, io * 1024 / 1e6)


def _growth(name: str, samples: Sequence[Sample], chunks: int, limit_kib: float) -> Growth | None:
    """Compared are the third and the last quarter of the work."""
    if samples[0][0] > chunks / 4 or samples[-1][0] < chunks * 3 / 4:
        return None
    early_kib, half_kib, end_kib = (_kept(samples, (part - 0.05) * chunks, (part + 0.05) * chunks) for part in _SHOWN)
    third_kib, last_kib = (_kept(samples, part * chunks, (part + 0.25) * chunks) for part in (0.5, 0.75))
    grows_kib = 0.0 if name == OPENER else 1000 * (last_kib - third_kib) / (chunks / 4)
    most_kib = max(kib for _, kib in samples)
    return Growth(name, early_kib, half_kib, end_kib, most_kib, grows_kib, grows_kib <= limit_kib)


def _kept(samples: Sequence[Sample], begin: float, end: float) -> float:
    """The least held from one number of chunks to another, or about then."""
    inside = [kib for done, kib in samples if begin <= done <= end]
    near = sorted(samples, key=lambda sample: abs(sample[0] - (begin + end) / 2))[:_NEAR]
    return min(inside or [kib for _, kib in near])


def roles(root: psutil.Process) -> dict[int, str]:
    """What each process at and below one is there for, by its pid."""
    names = {root.pid: "up"}
    children: Counter[str] = Counter()
    for process in root.children(recursive=True):
        try:
            role, parent = _role(process.cmdline()), names.get(process.ppid(), "")
        except psutil.Error:  # it has ended meanwhile
            continue
        if role in ("child", "tracker"):
            role = f"{parent} {role}"
            children[role] += 1
            role += f" {children[role]}" if children[role] > 1 else ""
        elif role == parent == "beat":  # Celery forks the clock off the worker that takes its ticks
            role = "beat clock"
        names[process.pid] = role
    return names


def _role(argv: Sequence[str]) -> str:
    """What a process is there for, as `service.processes` and the libraries start it."""
    line = " ".join(argv)
    if "workers.inputs.confined" in line:
        return OPENER
    if "--hostname" in argv:
        return argv[argv.index("--hostname") + 1].partition("-")[0]
    for mark, role in (("uvicorn", "api"), ("spawn_main", "child"), ("_tracker", "tracker"), ("postgres", "postgres")):
        if mark in line:
            return role
    return Path(argv[0]).name if argv else "ended"


def anonymous_kib(pid: int) -> int:
    """What a process holds for itself alone; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
