"""Who gives way does so beside processes of other sessions as well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
TOLD = """
import os
from core.courtesy import give_way
give_way(3)
print(os.nice(0), open("/proc/self/autogroup").read())
"""


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this system does not group processes by session")
def test_a_process_gives_way_with_its_whole_session() -> None:
    told = subprocess.run(
        [sys.executable, "-c", TOLD], start_new_session=True, capture_output=True, text=True, check=True
    )
    niceness, _, session = told.stdout.partition(" ")
    assert int(niceness) >= 3
    assert session.split()[-1] == niceness
