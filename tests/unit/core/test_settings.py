"""Settings come from `SCRIBELANE_*`, are checked at the start, and cannot change afterwards."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import Misconfigured
from core.settings import Settings, settings, unknown_variables
from core.tiers import Plan


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("SCRIBELANE_")]:
        monkeypatch.delenv(name)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_a_variable_sets_the_field_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIBELANE_LEASE_S", "42.5")

    assert Settings().lease_s == 42.5


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIBELANE_PDF_MAX_PAGES", "")

    assert Settings().pdf_max_pages == Settings.model_fields["pdf_max_pages"].default


def test_a_variable_of_no_setting_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIBELANE_NO_SUCH_THING", "1")

    assert not hasattr(Settings(), "no_such_thing")


def test_a_variable_that_sets_nothing_is_named_with_the_setting_that_may_be_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SCRIBELANE_LEAS_S", "SCRIBELANE_NO_SUCH_THING", "scribelane_stall", "SCRIBELANE_LEASE_S"):
        monkeypatch.setenv(name, "1")

    assert unknown_variables() == [
        "SCRIBELANE_LEAS_S is no setting and changes nothing; is SCRIBELANE_LEASE_S meant?",
        "SCRIBELANE_NO_SUCH_THING is no setting and changes nothing.",
        "SCRIBELANE_STALL is no setting and changes nothing; is SCRIBELANE_STALL_S meant?",
    ]


def test_what_is_meant_for_others_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[3]
    files = (root / "docker-compose.yml", *root.glob("service/cli/*.py"))
    theirs = {name for file in files for name in re.findall(r"SCRIBELANE_[A-Z0-9_]+", file.read_text())}
    assert {"SCRIBELANE_GPU1", "SCRIBELANE_API_KEY"} <= theirs
    kubernetes = "SCRIBELANE_PORT SCRIBELANE_API_SERVICE_HOST SCRIBELANE_SERVICE_PORT_HTTP SCRIBELANE_PORT_80_TCP_ADDR"
    for name in (*theirs, *kubernetes.split()):
        monkeypatch.setenv(name, "1")

    assert unknown_variables() == []


@pytest.mark.parametrize("line", ["retention_days", "upload_max_bytes", "media_max_s"])
def test_a_former_setting_is_refused_with_the_line_that_it_is_now(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    assert line in {field.name for field in fields(Plan)}
    monkeypatch.setenv(f"SCRIBELANE_{line.upper()}", "1")

    with pytest.raises(Misconfigured, match=f"SCRIBELANE_{line.upper()} .* {line} .*SCRIBELANE_TIERS_FILE"):
        settings()


def test_a_former_setting_that_is_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIBELANE_RETENTION_DAYS", "")

    assert settings() == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_S", "0"),
        ("LEASE_S", "soon"),
        ("MAX_FAILURES", "0"),
        ("CHUNK_AUDIO_S", "29"),
        ("CHUNK_AUDIO_S", "601"),
        ("PDF_MAX_PAGES", "-1"),
        ("FAKE_SPEED", "-0.1"),
        ("URL_HOSTS", "https://example.org"),
        ("URL_HOSTS", "example.org, localhost"),
        ("FETCH_PROXY", "socks5://proxy.example:1080"),
        ("FETCH_PROXY", "http://"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_the_name_of_its_field(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"SCRIBELANE_{name}", value)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(
    ("together", "named"),
    [
        ({"lease_s": 10, "heartbeat_s": 5}, "lease_s"),
        ({"soft_time_limit_s": 600}, "soft_time_limit_s"),
        ({"time_limit_s": 900}, "time_limit_s"),
        ({"stall_s": 540}, "stall_s"),
        ({"fetch_s": 540}, "fetch_s"),
        ({"input_s": 540}, "input_s"),
    ],
)
def test_values_that_cannot_work_together_are_refused(together: dict[str, float], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Settings.model_validate(together)


def test_settings_cannot_be_changed_after_the_start() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().lease_s = 1  # type: ignore[misc]


def test_every_number_says_its_unit_or_counts_something() -> None:
    numbers = [name for name, field in Settings.model_fields.items() if field.annotation in (int, float)]
    counted = {"pdf_max_pages", "ocr_max_pages", "max_failures", "threads", "cpu_workers", "fake_speed", "backup_keep"}
    counted |= {"subtitle_line_chars", "subtitle_lines", "youtube_retries", "fetch_at_once"}

    assert [name for name in numbers if not re.search(r"_(s|bytes|months)$", name) and name not in counted] == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BLOB_URL", "file://relative/blobs", "three slashes"),
        ("BROKER_URL", "http://broker:6379", "redis://"),
        ("LEASE_S", "inf", "at most"),
        ("CLEAN_S", "1e300", "at most"),
        ("RESCUE_S", "nan", "rescue_s"),
    ],
)
def test_a_value_that_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(f"SCRIBELANE_{name}", value)

    with pytest.raises(ValidationError, match=says):
        Settings()
