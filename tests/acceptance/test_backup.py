"""What a service had in work when its backup was made goes on in another, which has the backup and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.launch import SCRIBELANE
from tests.acceptance.conftest import ROOT, Service, start_service
from tests.waiting import until

RECORDING = ROOT / "examples" / "tides.ogg"
PDF = ROOT / "examples" / "tides.pdf"


def job(service: Service, key: str, job_id: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    answer: dict[str, Any] = httpx.get(f"{service.url}/v1/jobs/{job_id}", headers=headers, trust_env=False).json()
    return answer


@pytest.mark.timeout(300)
def test_a_service_goes_on_from_its_backup(service: Service, tmp_path: Path) -> None:
    key = service.key
    embedded = service.run("embed", str(PDF)).stdout.strip()
    with service.held_still("express"):  # or the job would be done before the backup
        in_work = service.client().transcribe(RECORDING, {"model": "fake"}, force=True).id
        until(lambda: job(service, key, in_work)["stage"] == "transcribe", what="it is prepared")
        assert service.run("backup", str(tmp_path / "backup"), "--blobs").returncode == 0
        assert job(service, key, in_work)["status"] == "processing"
    logged = "".join(path.read_text(errors="replace") for path in (service.folder / "logs").glob("*.log"))
    assert in_work in logged
    assert [secret for secret in (key, "tides", "Welcome to a short talk") if secret in logged] == []

    arguments = ["restore", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "second")]
    restored = subprocess.run([SCRIBELANE, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert (restored.returncode, restored.stdout) == (0, ""), restored.stderr

    second = start_service(tmp_path / "second")
    try:
        until(lambda: job(second, key, in_work)["status"] == "completed", what="the job goes on", within_s=120)
        found = second.run("--key", key, "--url", second.url, "search", "Why does the tide come later every day?")
        assert "tides.pdf" in found.stdout
        assert job(second, key, embedded)["status"] == "completed"
        assert second.run("jobs").returncode == 0  # the new folder's own key works as well
    finally:
        second.stop()
