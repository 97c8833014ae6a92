"""YouTube's challenges can be solved here: the runtime runs, and it takes the solver's scripts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yt_dlp
from yt_dlp.extractor.youtube.jsc.provider import (
    JsChallengeProviderError,
    JsChallengeRequest,
    JsChallengeType,
    NChallengeInput,
)

from workers.inputs import javascript, youtube
from workers.inputs.youtube import YouTubeOptions


@pytest.fixture
def solver(tmp_path: Path) -> Any:
    """What yt-dlp has challenges solved by."""
    with yt_dlp.YoutubeDL(youtube._parameters(tmp_path, YouTubeOptions())) as ydl:
        extractor = ydl.get_info_extractor("Youtube")
        extractor.initialize()
        return extractor._jsc_director.providers["Deno"]


def test_yt_dlp_has_the_runtime_and_the_scripts_of_the_wheels(solver: Any) -> None:
    assert solver.is_available()
    assert solver.runtime_info.path == str(javascript.runtime())
    for script in (solver._lib_script, solver._core_script):
        assert str(script.source) == "ScriptSource.PYPACKAGE"


def test_the_runtime_runs_and_leaves_its_cache_where_it_is_told(solver: Any, tmp_path: Path) -> None:
    before = dict(os.environ)

    with javascript.caching_in(tmp_path):
        assert solver._run_js_runtime("console.log(6 * 7)") == "42\n"
        assert any((tmp_path / ".deno").iterdir())

    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == before


def test_the_solver_runs_and_says_what_is_no_player_of_youtube(solver: Any, tmp_path: Path) -> None:
    asked = JsChallengeRequest(JsChallengeType.N, NChallengeInput("https://www.youtube.com/player.js", ["x"]))

    with javascript.caching_in(tmp_path), pytest.raises(JsChallengeProviderError, match="unexpected structure"):
        solver._run_js_runtime(solver._construct_stdin("var player = 1;", False, [asked]))


def test_the_runtime_runs_within_the_bounds_that_it_is_said_to_need(tmp_path: Path) -> None:
    bounds = f"ulimit -v {javascript.ADDRESS_SPACE_BYTES // 1024}; ulimit -d {javascript.DATA_BYTES // 1024}"
    command = ["bash", "-c", f'{bounds}; exec "$0" eval "console.log(6 * 7)"', str(javascript.runtime())]

    ran = subprocess.run(command, env={"DENO_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=60)

    assert (ran.returncode, ran.stdout) == (0, "42\n"), ran.stderr


def test_a_machine_without_the_wheel_has_the_runtime_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import deno

    def missing() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(deno, "find_deno_bin", missing)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert javascript.runtime() is None
    assert javascript.version() is None

    program = tmp_path / "deno"
    program.write_text("#!/bin/sh\necho deno 1.0.0\n")
    program.chmod(0o755)
    assert javascript.runtime() == program
    assert javascript.version() is None, "yt-dlp takes no runtime that is so old"
