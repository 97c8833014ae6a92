"""A job that waits says about how many come before it, and one in work how long it will take: measured, or null."""

from __future__ import annotations

import random
from itertools import groupby
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from core.lanes import Lane
from core.store import estimates, jobs, speeds
from core.store.accounts import Account
from core.store.session import Database
from core.store.speeds import Measured
from tests.integration import work


def position(database: Database, job_id: UUID) -> int | None:
    return work.estimate(database, job_id).queue_position


def test_accounts_take_turns_in_the_queue_too(database: Database, account: Account) -> None:
    mine = [work.submit(database, account) for _ in range(3)]
    theirs = [work.submit(database, work.open_account(database, name)) for name in ("grace", "edsger")]

    assert {position(database, job_id) for job_id in (mine[0], *theirs)} == {1, 2, 3}
    assert [position(database, job_id) for job_id in mine[1:]] == [4, 5]


def test_every_job_has_the_place_that_taking_turns_gives_it(database: Database) -> None:
    dice = random.Random(3)
    accounts = [work.open_account(database, f"account {n}") for n in range(5)]
    for _ in range(40):
        work.submit(database, dice.choice(accounts), lane=dice.choice(list(Lane)))

    with database.transaction() as connection:
        found = [job for one in accounts for job in jobs.list_of(connection, one.id, jobs.JobFilter(limit=100))]
        shown = estimates.of(connection, found)

    by_account = sorted(found, key=lambda job: (job.lane, job.account_id, job.id))
    turns = [
        (lane, turn, account_id, job.id)
        for (lane, account_id), own in groupby(by_account, key=lambda job: (job.lane, job.account_id))
        for turn, job in enumerate(own)
    ]
    for _, lane in groupby(sorted(turns), key=lambda place: place[0]):
        in_order = [job_id for *_, job_id in lane]
        assert [shown[job_id].queue_position for job_id in in_order] == list(range(1, len(in_order) + 1))


def test_lanes_count_for_themselves(database: Database, account: Account) -> None:
    work.submit(database, account, lane=Lane.BATCH)

    assert position(database, work.submit(database, account)) == 1


def test_a_job_that_has_begun_has_no_place_and_the_others_move_up(database: Database, account: Account) -> None:
    first, second = work.submit(database, account), work.submit(database, account)
    assert position(database, second) == 2

    work.claim_one(database, first)

    assert (position(database, first), position(database, second)) == (None, 1)


def test_a_list_shows_the_places_as_well(api: TestClient, database: Database, account: Account) -> None:
    for _ in range(3):
        work.submit(database, account)

    assert [job["queue_position"] for job in api.get("/v1/jobs").json()["data"]] == [3, 2, 1]


@pytest.mark.parametrize("n_others", [0, 2])
def test_a_job_that_is_too_far_away_has_no_place(
    database: Database, account: Account, monkeypatch: pytest.MonkeyPatch, n_others: int
) -> None:
    deepest = estimates._POSITIONS.bindparams(deepest=4)
    monkeypatch.setattr(estimates, "_POSITIONS", deepest)
    for n in range(n_others):
        work.submit(database, work.open_account(database, f"other {n}"))
    mine = [work.submit(database, account) for _ in range(7)]

    places = [position(database, job_id) for job_id in mine]

    assert sum(place is None for place in places) == 2 + n_others
    assert places[-1] is None


def measure(database: Database, speed: float, device: str = "host/cpu", lane: Lane = Lane.EXPRESS) -> None:
    with database.transaction() as connection:
        speeds.keep(connection, work.MODEL, lane, Measured(device, speech_s=60, infer_s=60 / speed))


def eta_s(database: Database, job_id: UUID) -> float | None:
    return work.estimate(database, job_id).eta_s


def test_the_time_left_is_unknown_until_something_is_measured(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.report_worker(database, "express")
    assert eta_s(database, job_id) is None

    work.prepare(database, job_id, 4)

    assert eta_s(database, job_id) is None


def test_a_measured_speed_says_how_long_a_job_takes_before_its_first_chunk_is_done(
    database: Database, account: Account
) -> None:
    job_id = work.transcribing(database, account, 4)  # each chunk holds 5 s of speech
    work.report_worker(database, "express")
    measure(database, 2)
    assert eta_s(database, job_id) is None  # its turn has not come, and who knows when it will

    work.claim_one(database, job_id)

    assert eta_s(database, job_id) == pytest.approx(4 * 5 / 2)


def test_several_workers_share_a_job_but_not_a_chunk(database: Database, account: Account) -> None:
    long, short = work.transcribing(database, account, 4), work.transcribing(database, account, 1)
    for n in range(2):
        work.report_worker(database, "express", "standard", worker_id=f"w/{n}")
    measure(database, 2)
    work.claim_one(database, long)
    assert eta_s(database, long) == pytest.approx(4 * 5 / 2 / 2)

    work.claim_one(database, short)
    assert eta_s(database, short) == pytest.approx(5 / 2)


def test_a_job_shares_the_workers_with_those_in_flight(database: Database, account: Account) -> None:
    mine, theirs = work.transcribing(database, account, 4), work.transcribing(database, account, 4, Lane.STANDARD)
    work.report_worker(database, "express")
    measure(database, 2)

    work.claim_one(database, mine)
    work.claim_one(database, theirs)

    assert eta_s(database, mine) == pytest.approx(2 * 4 * 5 / 2)


def test_a_device_that_has_not_measured_makes_the_time_unknown(database: Database, account: Account) -> None:
    job_id = work.transcribing(database, account, 4)
    work.claim_one(database, job_id)
    work.report_worker(database, "express")
    measure(database, 2, lane=Lane.BATCH)
    assert eta_s(database, job_id) is None

    measure(database, 2, "elsewhere/cuda:0")
    assert eta_s(database, job_id) is None


def test_speeds_without_a_worker_say_nothing(database: Database, account: Account) -> None:
    job_id = work.transcribing(database, account, 4)
    work.claim_one(database, job_id)
    measure(database, 2)

    assert eta_s(database, job_id) is None


def test_once_a_chunk_is_done_the_own_pace_of_the_job_counts(database: Database, account: Account) -> None:
    job_id = work.transcribing(database, account, 4)
    work.report_worker(database, "express")
    measure(database, 1000)
    claimed = work.claim_one(database, job_id)
    work.execute(database, "UPDATE jobs SET started_at = now() - interval '10 seconds'")
    work.execute(database, "UPDATE chunks SET started_at = now() - interval '10 seconds' WHERE stage = 'transcribe'")

    work.complete(database, claimed)

    left_s = eta_s(database, job_id)
    assert left_s is not None
    assert left_s >= 30  # one of four took at least ten seconds


def test_a_job_that_has_ended_has_no_time_left(database: Database, account: Account) -> None:
    job_id = work.submit(database, account)
    work.finish(database, job_id, n_chunks=3)

    assert work.estimate(database, job_id) == estimates.UNKNOWN
