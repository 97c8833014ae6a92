"""A CPU's cores are divided as was measured to be quickest, within the memory that there is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service import cores
from service.cores import Division, Machine, divide

GIB = 1024**3


@pytest.mark.parametrize(
    ("n_cores", "memory", "expected"),
    [
        (1, 8, Division(1, 1)),
        (2, 8, Division(2, 1)),
        (4, 16, Division(4, 1)),
        (6, 16, Division(4, 1)),
        (16, 64, Division(4, 4)),
        (8, 4, Division(2, 4)),
        (8, 1, Division(1, 8)),
    ],
)
def test_one_process_a_core_until_memory_or_their_number_speaks_against_it(
    n_cores: int, memory: int, expected: Division
) -> None:
    assert divide(Machine(n_cores, memory * GIB)) == expected


@pytest.mark.parametrize(
    ("processes", "threads", "expected"),
    [
        (1, 0, Division(1, 8)),
        (2, 0, Division(2, 4)),
        (0, 4, Division(2, 4)),
        (0, 16, Division(1, 16)),
        (9, 3, Division(9, 3)),
    ],
)
def test_what_is_asked_for_is_taken_and_the_rest_fits_it(processes: int, threads: int, expected: Division) -> None:
    assert divide(Machine(8, 64 * GIB), processes, threads) == expected


@pytest.mark.parametrize(("limit", "expected"), [("1073741824\n", GIB), ("max\n", None)])
def test_the_memory_of_a_container_is_its_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, expected: int | None
) -> None:
    file = tmp_path / "memory.max"
    file.write_text(limit)
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(cores, "_CGROUP_LIMIT", file)

    assert cores.this_machine().memory_bytes == (expected or machine_bytes)


def test_where_there_are_no_control_groups_the_memory_is_the_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cores, "_CGROUP_LIMIT", tmp_path / "absent")

    assert cores.this_machine().memory_bytes == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(("quota", "expected"), [("50000 100000\n", 1), ("100000 100000\n", 1), ("max 100000\n", None)])
def test_the_cores_of_a_container_are_those_that_its_quota_keeps_busy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, expected: int | None
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr(cores, "_CGROUP_QUOTA", file)

    assert cores.this_machine().cores == (expected or len(os.sched_getaffinity(0)))
