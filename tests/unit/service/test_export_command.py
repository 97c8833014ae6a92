"""`scribelane passages` writes what the service streams, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli import app, export_commands
from tests.unit.service.answering import BROKEN_OFF, Answer, as_json, problem, serving

ID = "01890000-0000-7000-8000-000000000000"
LINES = Answer(200, b'{"id":1}\n{"id":2}\n', "application/x-ndjson")
PARQUET = Answer(200, b"PAR1\xff\x00PAR1", "application/vnd.apache.parquet")


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["passages", ID, "--url", url, "--key", "k", *arguments])


def test_lines_go_to_stdout() -> None:
    with serving(LINES) as (url, asked):
        printed = run(url, "--vectors")

    assert (printed.exit_code, printed.stdout) == (0, LINES.body.decode())
    assert asked.lines == [f"GET /v1/jobs/{ID}/passages?format=jsonl&vectors=true"]


def test_json_is_one_object_of_all_pages() -> None:
    first = as_json({"data": [{"id": 1, "text": "naïve"}, {"id": 2}], "next_cursor": "WzEs"})
    with serving(first, as_json({"data": [{"id": 3}], "next_cursor": None})) as (url, asked):
        printed = run(url, "--format", "json")

    everything = {"data": [{"id": 1, "text": "naïve"}, {"id": 2}, {"id": 3}], "next_cursor": None}
    assert (printed.exit_code, json.loads(printed.stdout)) == (0, everything)
    page = f"GET /v1/jobs/{ID}/passages?format=json&vectors=false&limit=1000"
    assert asked.lines == [page, f"{page}&cursor=WzEs"]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_refusal_leaves_stdout_empty(form: str) -> None:
    with serving(problem(404, "not_found")) as (url, _):
        printed = run(url, "--format", form)

    assert (printed.exit_code, printed.stdout) == (1, "")
    assert "(not_found)" in printed.stderr


def test_json_of_a_job_without_passages_is_an_empty_list() -> None:
    with serving(as_json({"data": [], "next_cursor": None})) as (url, _):
        assert json.loads(run(url, "--format", "json").stdout) == {"data": [], "next_cursor": None}


def test_the_model_of_the_vectors_is_asked_for() -> None:
    with serving(LINES) as (url, asked):
        run(url, "--vectors", "--model", "bge-m3")
        without = run(url, "--model", "bge-m3")

    assert asked.lines == [f"GET /v1/jobs/{ID}/passages?format=jsonl&vectors=true&model=bge-m3"]
    assert (without.exit_code, "--vectors" in without.stderr) == (2, True)


def test_a_file_is_written_byte_by_byte(tmp_path: Path) -> None:
    file = tmp_path / "tides.parquet"
    with serving(PARQUET) as (url, _):
        printed = run(url, "--format", "parquet", "--output", str(file))

    assert (printed.exit_code, printed.stdout, file.read_bytes()) == (0, "", PARQUET.body)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("answer", [problem(404, "not_found"), BROKEN_OFF])
def test_what_does_not_arrive_leaves_the_file_as_it_was(tmp_path: Path, answer: Answer) -> None:
    file = tmp_path / "tides.jsonl"
    file.write_text("earlier")
    with serving(answer) as (url, _):
        printed = run(url, "--output", str(file))

    assert printed.exit_code == 1
    assert printed.stderr.startswith("error: ")
    assert [one.read_text() for one in tmp_path.iterdir()] == ["earlier"]


def test_parquet_is_not_written_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        stdout = type("Stdout", (), {"isatty": staticmethod(lambda: True)})

    monkeypatch.setattr(export_commands, "sys", Terminal)
    with serving(PARQUET) as (url, asked):
        printed = run(url, "--format", "parquet")

    assert (printed.exit_code, asked.lines) == (2, [])
    assert "--output" in printed.stderr
