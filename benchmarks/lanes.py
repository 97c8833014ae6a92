"""How long an express chunk waits while standard and batch work saturate every worker.

A whole service on this machine with the fake engine, at a speed that makes a chunk last two seconds. Two accounts keep
the lanes standard and batch full; a third submits short express recordings one after the other. A wait is from the
moment at which a chunk can be worked until a worker has claimed it. Once with the one worker that takes all lanes,
once with a second that is reserved for express (`scribelane worker --lanes express`); each under several
PYTHONHASHSEEDs, because the order of Celery's queues once depended on it. The promises of the lower lanes are short
here (10 s each), so that it is seen how long the lowest waits behind lanes that are never empty.

The table goes to standard output and to `benchmarks/results/lanes.json`. The exit status is 1 if the 95th percentile
of express is above the longest chunk in work (of any stage: inputs are opened in the same lanes) plus a second.

    .venv/bin/python -m benchmarks.lanes [--express 20] [--seeds 0,1,2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.loaded_service import SAMPLE, LoadedService, beginning_of_the_sample, loaded_service
from service.launch import SCRIBELANE

RESULTS = Path(__file__).parent / "results" / "lanes.json"
SLACK_S = 1.0
LOAD_JOBS = 8
"""Of each of the two lanes at a time; the sample is three chunks."""
SPEED = "15"
_FAKE = {"model": "fake", "index": "false"}

_WAITS = """
SELECT extract(epoch FROM c.started_at - c.created_at)::float AS wait_s
FROM chunks c JOIN jobs j ON j.id = c.job_id
WHERE j.lane = :lane AND c.stage = :stage AND c.started_at IS NOT NULL ORDER BY 1
"""
_LONGEST = "SELECT max(compute_s) AS s FROM chunks"
_OPEN = "SELECT count(*) AS n FROM jobs WHERE lane = :lane AND status IN ('queued', 'processing')"
_TIERS = "[lanes.standard]\nmax_wait_s = 10\n[lanes.batch]\nmax_wait_s = 10\n"
_HEAD = "seed  workers              express: n  median     p95   worst   limit   batch: n   worst"
_ROW = (
    "{seed:>4}  {workers:<20} {n:>10} {median_s:>5.2f} s {p95_s:>5.2f} s {worst_s:>5.2f} s {limit_s:>5.2f} s"
    " {n_batch:>10} {worst_batch_s:>5.1f} s"
)


@dataclass(frozen=True, slots=True)
class Waits:
    """One run. Waits in seconds; `limit_s` is the longest chunk in work and a second."""

    seed: str
    workers: str
    n: int
    median_s: float
    p95_s: float
    worst_s: float
    limit_s: float
    n_batch: int
    worst_batch_s: float


def main() -> int:
    """Measure every seed with and without a reserved worker; 1 if express waits too long."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--express", type=int, default=20, help="express jobs a run")
    asked.add_argument("--seeds", default="0,1,2")
    options, _ = asked.parse_known_args()  # `make bench` passes every benchmark the options of all
    print(_HEAD)
    rows = []
    for seed in options.seeds.split(","):
        for reserved in (False, True):
            rows.append(row := _measure(seed, reserved, options.express))
            print(_ROW.format(**asdict(row)), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"unit": "s", "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    return 1 if any(row.p95_s > row.limit_s for row in rows) else 0


def _measure(seed: str, reserved: bool, n_express: int) -> Waits:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiers.toml").write_text(_TIERS)
        environment = {
            "SCRIBELANE_FAKE_SPEED": SPEED,
            "SCRIBELANE_CHUNK_AUDIO_S": "30",
            "SCRIBELANE_CHUNK_TARGET_S": "2",
            "SCRIBELANE_TIERS_FILE": str(folder / "tiers.toml"),
            "PYTHONHASHSEED": seed,
        }
        short = beginning_of_the_sample(folder / "short.wav", 10)
        with (
            loaded_service(["express", "standard", "batch"], **environment) as service,
            _second_worker(service, folder / "worker.log", wanted=reserved),
        ):
            for _ in range(n_express):
                _keep_busy(service)
                client = service.clients["express"]
                client.wait(client.transcribe(short, _FAKE, force=True).id)
            return _waits(service, seed, "all lanes + express" if reserved else "all lanes")


def _waits(service: LoadedService, seed: str, workers: str) -> Waits:
    # Both stages that a person waits for: the input is opened, and then it is transcribed.
    express = sorted(wait for stage in ("prepare", "transcribe") for wait in _waited_s(service, "express", stage))
    batch = _waited_s(service, "batch", "transcribe")
    return Waits(
        seed=seed,
        workers=workers,
        n=len(express),
        median_s=statistics.median(express),
        p95_s=express[int(0.95 * (len(express) - 1))],
        worst_s=express[-1],
        limit_s=service.rows(_LONGEST)[0].s + SLACK_S,
        n_batch=len(batch),
        worst_batch_s=max(batch, default=0.0),
    )


def _keep_busy(service: LoadedService) -> None:
    """Fill both lower lanes up again."""
    for lane in ("standard", "batch"):
        for _ in range(LOAD_JOBS - service.rows(_OPEN, lane=lane)[0].n):
            service.clients[lane].transcribe(SAMPLE, {**_FAKE, "lane": lane}, force=True)


def _waited_s(service: LoadedService, lane: str, stage: str) -> list[float]:
    return [row.wait_s for row in service.rows(_WAITS, lane=lane, stage=stage)]


@contextmanager
def _second_worker(service: LoadedService, log: Path, *, wanted: bool) -> Iterator[None]:
    """A worker that takes express alone."""
    if not wanted:
        yield
        return
    with log.open("wb") as output:
        argv = [SCRIBELANE, "worker", "--lanes", "express"]
        worker = subprocess.Popen(argv, env=service.environment, stdout=output, stderr=output)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    sys.exit(main())
