"""`scribelane search` asks for what its options say."""

from __future__ import annotations

import json
import time

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from tests.unit.service.answering import as_json, serving

ID = "01890000-0000-7000-8000-000000000000"
OTHER = "01890000-0000-7000-8000-000000000001"
NOTHING = as_json({"mode": "hybrid", "hits": [], "warnings": []})


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["search", "tides", "--url", url, "--key", "k", *arguments])


def test_every_filter_of_the_service_has_an_option() -> None:
    options = ["--kind", "document", "--job", ID, "--job", OTHER, "--metadata", "shelf=sea"]
    times = ["--after", "2026-11-26T09:00Z", "--before", "2026-11-27T09:00:30+01:00"]
    with serving(NOTHING) as (url, asked):
        printed = run(url, *options, *times)

    assert printed.exit_code == 0, printed.stderr
    assert json.loads(asked.bodies[0]) == {
        "query": "tides",
        "limit": 5,
        "mode": "hybrid",
        "kind": "document",
        "job_ids": [ID, OTHER],
        "created_after": "2026-11-26T09:00:00+00:00",
        "created_before": "2026-11-27T09:00:30+01:00",
        "metadata": {"shelf": "sea"},
    }


def test_without_filters_none_is_sent() -> None:
    with serving(NOTHING) as (url, asked):
        run(url)

    assert json.loads(asked.bodies[0]) == {"query": "tides", "limit": 5, "mode": "hybrid"}


@pytest.mark.parametrize("given", ["2026-11-26", "2026-11-26T00:00", "2026-11-26T00:00:00"])
def test_a_time_without_a_zone_is_of_the_clock_of_this_machine(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere, serving(NOTHING) as (url, asked):
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        run(url, "--after", given)
    time.tzset()

    assert json.loads(asked.bodies[0])["created_after"] == "2026-11-26T00:00:00+09:00"


def test_a_time_is_taken_as_the_service_shows_it() -> None:
    with serving(NOTHING) as (url, asked):
        run(url, "--after", "2026-11-26T09:00:00.123456Z")

    assert json.loads(asked.bodies[0])["created_after"] == "2026-11-26T09:00:00.123456+00:00"


@pytest.mark.parametrize(
    "wrong", [("--after", "yesterday"), ("--before", "0001-01-01T00:00"), ("--job", "7"), ("--metadata", "sea")]
)
def test_what_cannot_be_is_told_before_anything_is_sent(wrong: tuple[str, str]) -> None:
    with serving(NOTHING) as (url, asked):
        printed = run(url, *wrong)

    assert (printed.exit_code, asked.lines) == (2, [])
    assert wrong[0] in printed.stderr
