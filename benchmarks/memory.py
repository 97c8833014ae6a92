"""The memory of each process of a service by name, and whether it grows with the work.

What is counted is a process's anonymous memory (`Anonymous` in `/proc/PID/smaps_rollup`): what it allocated and still
holds. Pages of files, such as libraries and weights, belong to the system, which takes them back when it needs them.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

OPENER = "opener of one input"
"""A process for each input, which ends with it: its row is the largest that was seen."""


_NEAR = 5
"""Samples that together say what is held at a time."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Memory of one process in KiB at a tenth, at half and at the end, and its growth over the second half."""

    process: str
    early_kib: float
    half_kib: float
    end_kib: float
    grows_kib: float
    """Per thousand chunks."""
    flat: bool


class Watch:
    """Samples of every process below one, each with how many chunks were done by then."""

    def __init__(self, root: int) -> None:
        self._root = psutil.Process(root)
        self._samples: dict[str, list[tuple[int, int]]] = defaultdict(list)

    def sample(self, chunks: int) -> None:
        """Look at all processes now. Those of one name (PostgreSQL's, one for each connection) count together."""
        held: Counter[str] = Counter()
        for pid, name in _names(self._root).items():
            kib = _anonymous_kib(pid)
            held[name] = max(held[name], kib) if name == OPENER else held[name] + kib
        for name, kib in held.items():
            if kib:
                self._samples[name].append((chunks, kib))

    def growth(self, limit_kib: float) -> list[Growth]:
        """Every process that was seen throughout. Flat: it grows by at most `limit_kib` in a thousand chunks."""
        last = max((samples[-1][0] for samples in self._samples.values()), default=0)
        found = [_growth(name, samples, last, limit_kib) for name, samples in sorted(self._samples.items())]
        return [one for one in found if one is not None]


def _growth(name: str, samples: Sequence[tuple[int, int]], chunks: int, limit_kib: float) -> Growth | None:
    """Compared are the medians of the third and the last quarter of the work, so that no single moment decides."""
    third, last = ([one for one in samples if low <= one[0] / chunks <= high] for low, high in ((0.5, 0.75), (0.75, 1)))
    if not third or not last or samples[0][0] > chunks / 4:
        return None
    early_kib, half_kib, end_kib = (_held(name, samples, part * chunks) for part in (0.1, 0.5, 1.0))
    grows_kib = 0.0
    if name != OPENER:
        more_kib = statistics.median(kib for _, kib in last) - statistics.median(kib for _, kib in third)
        grows_kib = 1000 * more_kib / (chunks / 4)
    return Growth(name, early_kib, half_kib, end_kib, grows_kib, grows_kib <= limit_kib)


def _held(name: str, samples: Sequence[tuple[int, int]], chunks: float) -> float:
    """What the process held when so many chunks were done."""
    near = sorted(samples, key=lambda sample: abs(sample[0] - chunks))[:_NEAR]
    return (max if name == OPENER else statistics.median)(kib for _, kib in near)


def _names(root: psutil.Process) -> dict[int, str]:
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


def _anonymous_kib(pid: int) -> int:
    """0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
