"""`make audit` fails on a finding, and on nothing else: a check must pass without a network."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def audit(folder: Path, said: str, status: int) -> subprocess.CompletedProcess[str]:
    """What `make audit` makes of a pip-audit that says this and ends so."""
    stand_in = folder / "pip-audit"
    stand_in.write_text(f"#!/bin/sh\ncat <<'END' >&2\n{said}\nEND\nexit {status}\n")
    stand_in.chmod(0o755)
    (folder / "installed").touch()
    command = ["make", "--silent", "audit", f"BIN={folder}", f"INSTALLED={folder / 'installed'}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("found", ["1 known vulnerability in 1 package", "7 known vulnerabilities in 2 packages"])
def test_a_finding_fails_and_is_shown(tmp_path: Path, found: str) -> None:
    done = audit(tmp_path, f"Found {found}\nName Version ID\nflask 0.5 PYSEC-2019-179", 1)

    assert done.returncode != 0
    assert "PYSEC-2019-179" in done.stdout


def test_without_a_network_it_says_so_and_passes(tmp_path: Path) -> None:
    done = audit(tmp_path, "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", 1)

    assert (done.returncode, done.stdout) == (0, "audit: left out, the database of vulnerabilities gave no answer\n")


def test_who_takes_too_long_is_left_out(tmp_path: Path) -> None:
    assert audit(tmp_path, "", 124).returncode == 0


def test_no_finding_passes(tmp_path: Path) -> None:
    done = audit(tmp_path, "No known vulnerabilities found", 0)

    assert (done.returncode, done.stdout) == (0, "audit: no known vulnerability; not known there: 0 packages\n")


def test_what_could_not_be_looked_up_is_counted(tmp_path: Path) -> None:
    lost = "\n".join(f"p{n} Dependency not found on PyPI and could not be audited: p{n} (1)" for n in range(3))

    assert "not known there: 3 packages" in audit(tmp_path, f"No known vulnerabilities found\n{lost}", 0).stdout
