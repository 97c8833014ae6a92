"""The soak tells memory that grows from memory that comes and goes, and knows the processes of a service by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.memory import Sample, _growth, _role
from benchmarks.recycling import _times_s
from service import processes

CHUNKS = 1000
LIMIT_KIB = 1000.0


def flat(samples: list[Sample]) -> bool | None:
    found = _growth("worker", samples, CHUNKS, LIMIT_KIB)
    return None if found is None else found.flat


def test_what_comes_and_goes_with_the_input_is_flat() -> None:
    assert flat([(n, 100_000 + (n % 7) * (50_000 + 100 * n)) for n in range(CHUNKS + 1)])


def test_a_little_that_every_chunk_leaves_is_not() -> None:
    assert flat([(n, 100_000 + 50_000 * (n % 7) + 2 * n) for n in range(CHUNKS + 1)]) is False


def test_what_a_process_takes_once_when_it_begins_is_flat() -> None:
    assert flat([(n, 100_000 + min(n, 300) * 100) for n in range(CHUNKS + 1)])


def test_a_process_that_was_not_there_throughout_is_not_judged() -> None:
    assert flat([(n, 100_000) for n in range(CHUNKS // 2, CHUNKS + 1)]) is None
    assert flat([(n, 100_000) for n in range(CHUNKS // 2)]) is None


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (processes.api("127.0.0.1", 1), "api"),
        (processes.beat(), "beat"),
        (processes.io_worker(), "io"),
        (processes.query_worker(), "query"),
        (processes.inference_worker("cpu", ["express"]), "worker"),
    ],
)
def test_each_process_of_a_service_has_its_name(command: processes.Command, name: str) -> None:
    assert _role(command.argv) == name


def test_a_recycle_lasts_from_the_last_chunk_of_a_process_to_the_beginning_of_the_next(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    words = {"00.0": "worker ready", "03.0": "done", "04.0": "done", "06.5": "worker ready", "08.0": "done"}
    words |= {"10.0": "worker ready"}
    log.write_text("".join(f"2026-01-01T00:00:{at}00000Z [info     ] {word}   [x]\n" for at, word in words.items()))

    assert list(_times_s(log)) == [2.5, 2.0]
