"""A job that waits says how many come before it, as the turns will go."""

from __future__ import annotations

from fastapi.testclient import TestClient

from core.lanes import Lane
from core.store.accounts import Account
from core.store.session import Database
from tests.integration import work


def test_accounts_take_turns_in_the_queue_too(database: Database, account: Account) -> None:
    mine = [work.submit(database, account) for _ in range(3)]
    theirs = [work.submit(database, work.open_account(database, name)) for name in ("grace", "edsger")]

    first_turns = {work.job(database, job_id).queue_position for job_id in (mine[0], *theirs)}

    assert first_turns == {1, 2, 3}
    assert [work.job(database, job_id).queue_position for job_id in mine[1:]] == [4, 5]


def test_lanes_count_for_themselves(database: Database, account: Account) -> None:
    work.submit(database, account, lane=Lane.BATCH)

    assert work.job(database, work.submit(database, account)).queue_position == 1


def test_a_job_that_has_begun_has_no_place_and_the_others_move_up(database: Database, account: Account) -> None:
    first, second = work.submit(database, account), work.submit(database, account)
    assert work.job(database, second).queue_position == 2

    work.claim_one(database, first)

    assert (work.job(database, first).queue_position, work.job(database, second).queue_position) == (None, 1)


def test_a_list_shows_the_places_as_well(api: TestClient, database: Database, account: Account) -> None:
    for _ in range(3):
        work.submit(database, account)

    assert [job["queue_position"] for job in api.get("/v1/jobs").json()["data"]] == [3, 2, 1]
