"""The client asks for work to be done anew, and says when an earlier result was given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.client import Client
from tests.unit.service.answering import Answer, as_job, as_json, serving

REUSED = as_json({**json.loads(as_job("completed", 4).body), "reused_from": "7"})
TEXT = Answer(200, b"Words.", "text/plain")


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    file = tmp_path / "talk.wav"
    file.write_bytes(b"RIFF")
    return file


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--url", url, "--key", "k"])


def test_a_submit_says_whether_an_earlier_job_was_given(talk: Path) -> None:
    with serving(REUSED, as_job("queued", 0)) as (url, asked), Client(url, "k") as client:
        assert (client.transcribe(talk).reused_from, client.embed(talk, force=True).reused_from) == ("7", None)

    assert [b'name="force"' in body for body in asked.bodies] == [False, True]


def test_the_command_tells_that_a_result_is_an_earlier_one_on_stderr_alone(talk: Path) -> None:
    with serving(REUSED, as_job("completed", 4), TEXT) as (url, _):
        printed = run(url, "transcribe", str(talk))

    assert (printed.exit_code, printed.stdout) == (0, "Words.\n")
    assert "done before, on 2026-11-22: job 7" in printed.stderr


@pytest.mark.parametrize("command", ["transcribe", "embed"])
def test_force_is_asked_of_the_service(talk: Path, command: str) -> None:
    with serving(as_job("queued", 0), as_job("completed", 4), TEXT) as (url, asked):
        printed = run(url, command, str(talk), "--force")

    assert printed.exit_code == 0
    assert "done before" not in printed.stderr
    assert b'name="force"\r\n\r\ntrue' in asked.bodies[0]
