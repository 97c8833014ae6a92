"""The program that fetches, the real one, in a world where YouTube knows one video: its sound lies at the URL of the
only argument. Tests run it in the place of `python -m workers.inputs.fetcher`.
"""

from __future__ import annotations

import runpy
import sys

import pytest

from tests.unit.workers.tube import answering, player

if __name__ == "__main__":
    answering(pytest.MonkeyPatch(), player(sys.argv[1]))
    runpy.run_module("workers.inputs.fetcher", run_name="__main__")
