"""`GET /metrics` shows what upkeep came to, and answers whatever becomes of the database."""

from __future__ import annotations

import re
import time
from pathlib import Path

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from core.settings import Settings
from core.store.session import Database
from service.app import create_app
from service.embedded import free_port
from service.metrics import READ_WITHIN_S
from tests.integration import household
from tests.waiting import until
from workers.upkeep import Chore, Slice, Swept, Upkeep, run

OWN = "scribelane_rate_limit_unchecked_total"


def fail(_: Slice) -> Swept:
    raise OSError("the store is away")


def samples(api: TestClient) -> dict[tuple[str, str], float]:
    """What is shown of upkeep, by name and chore."""
    answer = api.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    found = [one for family in families for one in family.samples if one.name.startswith("scribelane_upkeep_")]
    return {(one.name.removeprefix("scribelane_upkeep_"), one.labels["chore"]): one.value for one in found}


def test_nothing_is_shown_of_what_was_never_run(api: TestClient) -> None:
    assert samples(api) == {}
    assert "# TYPE scribelane_upkeep_runs_total counter" in api.get("/metrics").text


def test_each_chore_shows_its_last_success_its_duration_and_its_totals(api: TestClient, database: Database) -> None:
    began = time.time()
    run(database, Chore("sweep", 1e-9, lambda _: Swept(3)))
    run(database, Chore("sweep", 1e-9, lambda _: Swept(4)))
    last_success = samples(api)["last_success_timestamp_seconds", "sweep"]
    run(database, Chore("sweep", 1e-9, fail))
    run(database, Chore("bad", 1, fail))

    shown = samples(api)

    totals = [[shown[f"{name}_total", chore] for name in ("runs", "failures", "items")] for chore in ("sweep", "bad")]
    assert totals == [[3, 1, 7], [1, 1, 0]]
    assert 0 <= shown["duration_seconds", "sweep"] < 60
    assert shown["last_success_timestamp_seconds", "sweep"] == last_success
    assert began - 1 < last_success < time.time() + 1
    assert ("last_success_timestamp_seconds", "bad") not in shown


def test_every_chore_that_there_is_is_shown_and_is_in_the_manual(
    api: TestClient, database: Database, settings: Settings
) -> None:
    blobs = api.app.state.service.blobs  # type: ignore[attr-defined]
    chores = household.all_chores(database, blobs, back_up=lambda: None)
    Upkeep(database, chores).round()
    manual = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()

    names = {chore.name for chore in chores}
    assert {chore for name, chore in samples(api) if name == "last_success_timestamp_seconds"} == names
    assert set(re.findall(r"^\| `(\w+)` \| `SCRIBELANE_", manual, re.MULTILINE)) == names


def test_without_a_database_the_process_still_shows_what_it_counts(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": f"postgresql://nobody@127.0.0.1:{free_port()}/none"})
    with TestClient(create_app(away)) as api:
        assert samples(api) == {}
        assert OWN in api.get("/metrics").text


def test_a_database_that_hangs_holds_no_scrape_up_and_is_shown_again_after(api: TestClient, database: Database) -> None:
    run(database, Chore("sweep", 1, lambda _: Swept(3)))
    with database.transaction() as connection:
        connection.exec_driver_sql("LOCK TABLE upkeep")
        started = time.monotonic()
        answers = [api.get("/metrics") for _ in range(2)]
        took_s = time.monotonic() - started

    assert [(answer.status_code, OWN in answer.text) for answer in answers] == [(200, True)] * 2
    assert took_s < 2 * READ_WITHIN_S + 5
    until(lambda: samples(api))
