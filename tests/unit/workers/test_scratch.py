"""A worker's files in work are its own, and do not outlive it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workers import scratch

ROOT = Path(__file__).parents[3]


def test_each_process_has_a_folder_that_only_its_user_may_enter(tmp_path: Path) -> None:
    first, second = scratch.take(tmp_path / "s"), scratch.take(tmp_path / "s")

    assert first.folder != second.folder
    assert first.folder.stat().st_mode & 0o077 == 0
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0


def test_a_folder_that_is_given_back_is_gone(tmp_path: Path) -> None:
    taken = scratch.take(tmp_path)
    (taken.folder / "input").write_bytes(b"RIFF")

    taken.remove()

    assert not taken.folder.exists()


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_what_is_held_stays(tmp_path: Path) -> None:
    script = (
        "import pathlib, signal, sys; from workers import scratch;"
        "taken = scratch.take(pathlib.Path(sys.argv[1])); (taken.folder / 'input').write_bytes(b'RIFF');"
        "print(taken.folder, flush=True); signal.pause()"
    )
    argv = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        held = scratch.take(tmp_path)
        assert (left / "input").exists()

        process.kill()

    scratch.take(tmp_path)

    assert not left.exists()
    assert held.folder.exists()
