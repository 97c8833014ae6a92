"""`scribelane usage` prints what is left so that a person can read it, or as the service answered it."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from service.answers import Quota
from service.cli import app
from service.client import Client
from tests.unit.service.answering import as_json, problem, serving

AUDIO: dict[str, Any] = {
    "limit": 108_000.0,
    "granted": 3600.0,
    "used": 87.085,
    "reserved": 60.0,
    "remaining": 111_452.915,
}
PAGES: dict[str, Any] = {"limit": None, "granted": 0, "used": 3, "reserved": 0, "remaining": None}
ANSWER: dict[str, Any] = {
    "tier": "free",
    "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
    "audio_s": AUDIO,
    "pages": PAGES,
}


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["usage", "--url", url, "--key", "k", *arguments])


def test_the_client_reads_both_quotas_and_the_period() -> None:
    with serving(as_json(ANSWER)) as (url, asked), Client(url, "k") as client:
        usage = client.usage()

    assert asked.lines == ["GET /v1/usage"]
    assert (usage.tier, usage.period_start, usage.period_end) == ("free", *ANSWER["period"].values())
    assert (usage.audio_s, usage.pages) == (Quota(**AUDIO), Quota(**PAGES))


def test_the_table_shows_hours_and_pages() -> None:
    with serving(as_json(ANSWER)) as (url, _):
        printed = run(url)

    rows = [line.split() for line in printed.stdout.splitlines()]
    assert printed.exit_code == 0
    assert rows[0] == ["Limit", "Granted", "Used", "Reserved", "Left"]
    assert rows[1] == ["audio", "30:00:00", "1:00:00", "0:01:27", "0:01:00", "30:57:32"]
    assert rows[2] == ["pages", "unlimited", "0", "3", "0", "unlimited"]
    assert "Tier free" in printed.stderr
    assert "2026-12-01T00:00:00Z" in printed.stderr


def test_json_is_the_answer_of_the_service() -> None:
    with serving(as_json(ANSWER)) as (url, _):
        assert json.loads(run(url, "--json").stdout) == ANSWER


def test_a_refusal_is_a_line_on_stderr() -> None:
    with serving(problem(401, "unauthorized")) as (url, _):
        refused = run(url)

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "unauthorized" in refused.stderr
