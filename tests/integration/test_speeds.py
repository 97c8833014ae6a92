"""What is measured decides how long the next chunks are, and nothing that was not measured does."""

from __future__ import annotations

import pytest

from core.lanes import Lane
from core.plan import LONGEST_CHUNK_S, SHORTEST_CHUNK_S, chunk_audio_s
from core.store import speeds
from core.store.session import Database
from core.store.speeds import Measured
from tests.integration import work


def keep(database: Database, speed: float, device: str = "host/cuda:0", lane: Lane = Lane.EXPRESS) -> None:
    with database.transaction() as connection:
        speeds.keep(connection, "base", lane, Measured(device, speech_s=60, infer_s=60 / speed))


def slowest(database: Database, model: str | None = "base", lane: Lane = Lane.EXPRESS) -> float | None:
    with database.transaction() as connection:
        return speeds.slowest(connection, model, lane)


def test_nothing_is_known_before_the_first_chunk(database: Database) -> None:
    assert slowest(database) is None


def test_the_slowest_device_decides(database: Database) -> None:
    keep(database, 50)
    keep(database, 8, "other/cpu")

    assert slowest(database) == pytest.approx(8)


def test_a_speed_is_of_its_model_and_its_lane(database: Database) -> None:
    keep(database, 50)

    assert (slowest(database, None), slowest(database, lane=Lane.BATCH)) == (None, None)


def test_newer_chunks_weigh_more_and_one_odd_chunk_does_not_decide(database: Database) -> None:
    for _ in range(20):
        keep(database, 10)
    keep(database, 1)
    assert slowest(database) == pytest.approx(8.2)

    for _ in range(20):
        keep(database, 40)
    assert slowest(database) == pytest.approx(40, rel=0.02)


def test_a_device_that_is_gone_is_forgotten(database: Database) -> None:
    keep(database, 2, "gone/cpu")
    work.execute(database, "UPDATE speeds SET measured_at = now() - interval '25 hours'")
    keep(database, 50)

    assert slowest(database) == pytest.approx(50)


@pytest.mark.parametrize("infer_s", [0.0, -1.0])
def test_a_chunk_that_took_no_time_measures_nothing(database: Database, infer_s: float) -> None:
    with database.transaction() as connection:
        speeds.keep(connection, "base", Lane.EXPRESS, Measured("host/cpu", 60, infer_s))

    assert slowest(database) is None


@pytest.mark.parametrize(("speed", "expected_s"), [(0.5, SHORTEST_CHUNK_S), (8, 80), (300, LONGEST_CHUNK_S)])
def test_a_chunk_takes_about_the_target_within_its_bounds(speed: float, expected_s: float) -> None:
    assert chunk_audio_s(speed, target_s=10) == expected_s


def test_a_worker_that_has_measured_nothing_yet_may_be_slower_than_all(database: Database) -> None:
    keep(database, 60, "host/cpu")
    work.report_worker(database, "express")
    assert slowest(database) == pytest.approx(60)

    work.execute(
        database,
        "INSERT INTO workers (id, host, pid, device, lanes, models) VALUES ('n', 'new', 1, 'cpu', '{express}', '{}')",
    )
    assert slowest(database) is None


def test_figures_that_decide_nothing_any_more_are_deleted(database: Database) -> None:
    keep(database, 2, "gone/cpu")
    work.execute(database, "UPDATE speeds SET measured_at = now() - interval '25 hours'")
    keep(database, 50)

    with database.transaction() as connection:
        assert [speeds.forget_old(connection) for _ in range(2)] == [1, 0]
    assert [row.device for row in work.execute(database, "SELECT device FROM speeds")] == ["host/cuda:0"]


def test_a_chunk_with_hardly_any_speech_weighs_hardly_anything(database: Database) -> None:
    with database.transaction() as connection:
        speeds.keep(connection, "base", Lane.EXPRESS, Measured("h/cpu", speech_s=60, infer_s=6))
        for _ in range(10):
            speeds.keep(connection, "base", Lane.EXPRESS, Measured("h/cpu", speech_s=0.1, infer_s=10))
        assert (speeds.slowest(connection, "base", Lane.EXPRESS) or 0) > 9.9
