"""What nine accounts get while a tenth floods the service: Jain's index of the nine, and the flood's own share.

A whole service on this machine with one worker and the fake engine, at a speed that makes a chunk last half a second.
The flood submits its jobs first, the nine theirs together afterwards. Counted is how many chunks of each account were
transcribed from then until the first of the nine had nothing left. Jain's index of shares x is (Σx)² / (n Σx²): 1 when
all are equal, 1/n when one has all.

The table goes to standard output and to `benchmarks/results/fairness.json`. The exit status is 1 if the index is below
0.95 or the flood got more than twice an even share.

    .venv/bin/python -m benchmarks.fairness
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.loaded_service import SAMPLE, LoadedService, loaded_service

RESULTS = Path(__file__).parent / "results" / "fairness.json"
LIMIT = 0.95
FLOOD_JOBS, JOBS = 15, 3
NINE = [f"account {n}" for n in range(1, 10)]
ENVIRONMENT = {"SCRIBELANE_FAKE_SPEED": "60", "SCRIBELANE_CHUNK_AUDIO_S": "30", "SCRIBELANE_CHUNK_TARGET_S": "0.5"}
_FAKE = {"model": "fake", "index": "false"}
_POLL_S = 0.5

_LEFT = """
SELECT a.name, count(*) FILTER (WHERE j.status NOT IN ('completed', 'failed', 'cancelled')) AS n
FROM jobs j JOIN accounts a ON a.id = j.account_id GROUP BY a.name
"""
# From the last prepared job of the nine to the first of them that was served to its end.
_DONE = """
WITH mine AS (
    SELECT a.name, c.stage, c.finished_at FROM chunks c JOIN accounts a ON a.id = c.account_id WHERE c.status = 'done'
), span AS (
    SELECT (SELECT max(finished_at) FROM mine WHERE name <> 'flood' AND stage = 'prepare') AS began,
           (SELECT min(last) FROM (SELECT max(finished_at) AS last FROM mine
                                   WHERE name <> 'flood' AND stage = 'transcribe' GROUP BY name) ends) AS ended
)
SELECT name, count(*) AS n FROM mine, span
WHERE stage = 'transcribe' AND finished_at BETWEEN began AND ended GROUP BY name
"""


def main() -> int:
    """Measure once; 1 if it was not fair."""
    with loaded_service(["flood", *NINE], **ENVIRONMENT) as service:
        # Nothing is worked before all have submitted, or the first would only seem to get more.
        _submit(service, ["flood"], FLOOD_JOBS)
        _submit(service, NINE, JOBS)
        while sum(row.n for row in service.rows(_LEFT) if row.name != "flood"):
            time.sleep(_POLL_S)
        done = {row.name: row.n for row in service.rows(_DONE)}
    shares = [done.get(name, 0) for name in NINE]
    index, even = jain(shares), sum(done.values()) / 10
    flood = done.get("flood", 0) / even
    print(f"chunks of the nine: {' '.join(map(str, shares))}; of the flood: {done.get('flood', 0)}")
    print(f"{'Jain index of the nine':<28} {'flood, × an even share':>24}")
    print(f"{index:<28.3f} {flood:>24.2f}")
    RESULTS.parent.mkdir(exist_ok=True)
    result = {"jain": index, "limit": LIMIT, "flood_share": flood, "chunks": done}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if index < LIMIT or flood > 2 else 0


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index, 1/n to 1 (Jain, Chiu, Hawe 1984)."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0


def _submit(service: LoadedService, names: Sequence[str], n_jobs: int) -> None:
    for _ in range(n_jobs):
        for name in names:
            service.clients[name].transcribe(SAMPLE, _FAKE, force=True)


if __name__ == "__main__":
    sys.exit(main())
