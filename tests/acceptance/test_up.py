"""`scribelane up` and the operator's commands, as a newcomer meets them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from service.launch import SCRIBELANE
from tests.acceptance.conftest import Service


def test_a_second_up_on_the_same_folder_says_so_and_exits(service: Service) -> None:
    second = service.run("up", "--port", "1")
    assert second.returncode == 1
    assert "already running" in second.stderr


def test_an_up_on_a_busy_port_says_so_and_exits(service: Service, tmp_path: Path) -> None:
    second = service.run("up", "--port", service.url.rsplit(":", 1)[1], "--data-dir", str(tmp_path))
    assert second.returncode == 1
    assert "in use" in second.stderr


def test_the_operators_key_is_readable_by_its_owner_alone(service: Service) -> None:
    mode = stat.S_IMODE((service.folder / "api-key").stat().st_mode)
    assert mode == 0o600


def test_an_account_is_made_while_the_service_runs_and_its_key_works_once_shown(service: Service) -> None:
    made = service.run("accounts", "create", "grace", "--tier", "pro", "--data-dir", str(service.folder))
    key = made.stdout.strip()
    assert key.startswith("sl_")
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{service.url}/v1/jobs", headers=headers).json()["data"] == []
    assert httpx.get(f"{service.url}/v1/workers", headers=headers).status_code == 403
    again = service.run("accounts", "create", "grace")
    assert again.returncode == 1
    assert "already" in again.stderr


def test_an_account_cannot_be_made_where_nothing_runs(tmp_path: Path) -> None:
    made = subprocess.run(
        [SCRIBELANE, "accounts", "create", "x", "--data-dir", str(tmp_path)],
        env={name: value for name, value in os.environ.items() if name != "SCRIBELANE_DATABASE_URL"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 1
    assert "SCRIBELANE_DATABASE_URL" in made.stderr


def test_the_doctor_finds_this_machine_well(service: Service) -> None:
    checked = service.run("doctor")
    assert checked.returncode == 0, checked.stdout
    assert "weights of base: verified" in checked.stdout
    assert "noeviction" in checked.stdout


def test_jobs_and_status_print_what_the_api_says(service: Service) -> None:
    listed = service.run("jobs")
    assert listed.returncode == 0
    with service.http() as http:
        newest = http.get("/v1/jobs", params={"limit": 1}).json()["data"]
    for job in newest:
        assert job["id"] in listed.stdout
        assert json.loads(service.run("status", job["id"]).stdout)["id"] == job["id"]


@pytest.mark.parametrize("not_an_id", ["../workers", "", "x?y=1"])
def test_what_is_no_id_of_a_job_is_not_asked_for(service: Service, not_an_id: str) -> None:
    refused = service.run("status", not_an_id)
    assert refused.returncode == 2
    assert "a valid UUID" in refused.stderr


def test_a_client_without_a_service_says_what_to_do(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SCRIBELANE_")}
    alone = subprocess.run([SCRIBELANE, "jobs"], cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert alone.returncode == 2
    assert "SCRIBELANE_API_KEY" in alone.stderr


@pytest.mark.parametrize("command", [["worker"], ["beat"], ["api"]])
def test_a_process_without_its_settings_says_which_and_exits(command: list[str]) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SCRIBELANE_")}
    done = subprocess.run([SCRIBELANE, *command], env=bare, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: SCRIBELANE_DATABASE_URL is not set")


def test_the_doctor_examines_a_machine_on_which_nothing_runs(tmp_path: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SCRIBELANE_")}
    command = [SCRIBELANE, "doctor", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "weights of all-MiniLM-L6-v2: verified" in done.stdout
    assert "!!  database" in done.stdout


def test_the_doctor_says_in_a_line_which_setting_cannot_be_read(tmp_path: Path) -> None:
    environment = {**os.environ, "SCRIBELANE_RETENTION_DAYS": "365"}
    command = [SCRIBELANE, "doctor", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: SCRIBELANE_RETENTION_DAYS is no setting any more")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SCRIBELANE_WHISPER_MODEL", "nonesuch", "base"),
        ("SCRIBELANE_LOG_LEVEL", "LOUD", "SCRIBELANE_LOG_LEVEL"),
        ("SCRIBELANE_BLOB_URL", "/no/scheme", "file:///"),
        ("SCRIBELANE_CHUNK_AUDIO_S", "5", "30"),
        ("SCRIBELANE_TIERS_FILE", "/no/such/tiers.toml", "/no/such/tiers.toml cannot be read"),
        ("SCRIBELANE_RETENTION_DAYS", "365", "the line retention_days"),
    ],
)
def test_a_setting_that_cannot_work_is_named_before_anything_starts(
    tmp_path: Path, name: str, value: str, says: str
) -> None:
    environment = {**os.environ, name: value}
    command = [SCRIBELANE, "up", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert not (tmp_path / "data").exists()
