"""Do more GPUs work more? Chunks per second of 1 to 64 simulated GPUs, and what a chunk costs beside its inference.

First, chunks that take two seconds each: the efficiency is the chunks per second against as many as the GPUs could
infer if none ever waited. Then chunks that take no time, where nothing but the overhead is left. The overhead of a
chunk is the time from one claim of a worker to its next one, less the inference.

PostgreSQL and Valkey are real and as durable as in a deployment; so are the dispatcher, its messages and a worker's
whole path through a chunk. `benchmarks/simulated_gpus.py` says what of a simulated GPU is not. Beside them stand real
workers (`scribelane worker` with `model=fake`), as many as two cores carry. Everything shares this machine: where its
cores are used up, that is what is measured, and not what 64 GPUs with a database server of its own would do. Jobs have
16 chunks each, of eight accounts. Measured is from when each GPU could have its second chunk until the last ones are
handed out. There is no io worker and no Beat.

The table goes to standard output and to `benchmarks/results/scaling.json`. The exit status is 1 if the median overhead
of one real worker is above 20 ms, or the GPUs that share one dispatcher work fewer than 100 chunks a second.

    .venv/bin/python -m benchmarks.scaling [--gpus 1,2,4,8,16,32,64] [--chunk-s 2] [--rounds 7] [--chunks 600] [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bare_servers import BareServers, bare_servers
from benchmarks.waiting_chunks import AUDIO_S, add_accounts, add_chunks
from core import tiers
from core.broker import make_celery
from core.dispatch import Dispatcher
from core.lanes import INFERENCE_QUEUES
from core.store.accounts import Account
from core.store.turns import Promises
from service import processes
from service.processes import Command

RESULTS = Path(__file__).parent / "results" / "scaling.json"
LIMIT_MS, LIMIT_PER_S = 20.0, 100.0
ONE_DISPATCHER = 16
"""Simulated GPUs that share one; as many as keep it busy."""
MOST_REAL = 2
PROCESSES = 2
"""Processes that the simulated GPUs are divided among."""
_START_S, _WORK_S = 120.0, 300.0

_EMPTY = "TRUNCATE jobs, chunks, account_turns, job_turns, workers, speeds CASCADE"
_LIVE = "SELECT count(*) AS n FROM workers"
_LEFT = "SELECT count(*) AS n FROM chunks WHERE stage = 'transcribe' AND status <> 'done'"
# A chunk counts by the part of it that lies in the span, so that the span need not hold whole ones.
_RATE = """
WITH ranked AS (
    SELECT started_at, finished_at, row_number() OVER (ORDER BY started_at) AS n FROM chunks WHERE stage = 'transcribe'
), span AS (
    SELECT min(started_at) FILTER (WHERE n = :n_gpus + 1) AS began,
           max(started_at) FILTER (WHERE n = :n_chunks - :n_gpus) AS ended FROM ranked
)
SELECT began, ended, (sum(
    extract(epoch FROM least(finished_at, ended) - greatest(started_at, began))
    / extract(epoch FROM finished_at - started_at)
) / extract(epoch FROM ended - began))::float AS per_s
FROM ranked, span WHERE finished_at > began AND started_at < ended GROUP BY began, ended
"""
_CLAIM_TO_CLAIM = """
SELECT extract(epoch FROM started_at - before)::float AS s
FROM (
    SELECT started_at, lag(started_at) OVER (PARTITION BY worker_id ORDER BY started_at) AS before
    FROM chunks WHERE stage = 'transcribe'
) claims
WHERE before IS NOT NULL AND started_at BETWEEN :began AND :ended ORDER BY 1
"""
_HEAD = "workers                     GPUs  a chunk  chunks    per s    ideal  efficiency  overhead: median       p95"
_ROW = (
    "{what:<26} {gpus:>5} {chunk_s:>6.1f} s {chunks:>7} {per_s:>8.2f} {ideal:>8} {share:>11} {median_ms:>14.1f} ms"
    " {p95_ms:>6.1f} ms"
)


@dataclass(frozen=True, slots=True)
class Case:
    """What works, and on what: `n_chunks` chunks that take `chunk_s` each."""

    what: str
    gpus: int
    chunk_s: float
    n_chunks: int


@dataclass(frozen=True, slots=True)
class Row:
    """One case. `efficiency` is the share of the ideal rate, None where inference takes no time."""

    what: str
    gpus: int
    chunk_s: float
    chunks: int
    per_s: float
    ideal_per_s: float | None
    efficiency: float | None
    median_ms: float
    p95_ms: float


REAL, SIMULATED, ONE_BELL = "real", "simulated", "simulated, one dispatcher"


def main() -> int:
    """Measure every case; 1 if the overhead is too large or the dispatcher too slow."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--gpus", default="1,2,4,8,16,32,64")
    asked.add_argument("--chunk-s", type=float, default=2)
    asked.add_argument("--rounds", type=int, default=7, help="chunks that each GPU works, for the efficiency")
    asked.add_argument("--chunks", type=int, default=600, help="chunks that take no time, for the overhead")
    asked.add_argument("--quick", action="store_true", help="few and short chunks: to try it out, not for figures")
    options, _ = asked.parse_known_args()  # `make bench` passes every benchmark the options of all
    if options.quick:
        options.gpus, options.chunk_s, options.rounds, options.chunks = "1,8,64", 1.0, 4, 200
    print(_HEAD)
    with bare_servers() as servers:
        accounts = add_accounts(servers)
        rows = [_measure(servers, accounts, case) for case in _cases(options)]
    RESULTS.parent.mkdir(exist_ok=True)
    limits = {"overhead_median_ms": LIMIT_MS, "one_dispatcher_per_s": LIMIT_PER_S}
    RESULTS.write_text(json.dumps({"limits": limits, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    slow = any(row.what == REAL and row.gpus == 1 and not row.chunk_s and row.median_ms > LIMIT_MS for row in rows)
    return 1 if slow or any(row.what == ONE_BELL and row.per_s < LIMIT_PER_S for row in rows) else 0


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    gpus = [int(n) for n in options.gpus.split(",")]
    for n in gpus:
        yield Case(SIMULATED, n, options.chunk_s, n * options.rounds)
    real = [n for n in gpus if n <= MOST_REAL]
    for n in real:
        yield Case(REAL, n, options.chunk_s, n * options.rounds)
    for n in real:
        yield Case(REAL, n, 0.0, options.chunks)
        yield Case(SIMULATED, n, 0.0, options.chunks)
    yield Case(SIMULATED, ONE_DISPATCHER, 0.0, options.chunks * 3)
    yield Case(ONE_BELL, ONE_DISPATCHER, 0.0, options.chunks * 3)


def _measure(servers: BareServers, accounts: Sequence[Account], case: Case) -> Row:
    servers.rows(_EMPTY)
    names = _start(servers, case)
    _await(servers, _LIVE, case.gpus, _START_S)
    add_chunks(servers, accounts, case.n_chunks)
    servers.rows("ANALYZE")  # what autovacuum does on a server that runs on
    _dispatcher(servers).round()
    _await(servers, _LEFT, 0, _WORK_S)
    servers.supervisor.stop(*names)
    span = servers.rows(_RATE, n_gpus=case.gpus, n_chunks=case.n_chunks)[0]
    overhead_s = [row.s - case.chunk_s for row in servers.rows(_CLAIM_TO_CLAIM, began=span.began, ended=span.ended)]
    ideal = case.gpus / case.chunk_s if case.chunk_s else None
    row = Row(
        what=case.what,
        gpus=case.gpus,
        chunk_s=case.chunk_s,
        chunks=case.n_chunks,
        per_s=span.per_s,
        ideal_per_s=ideal,
        efficiency=span.per_s / ideal if ideal else None,
        median_ms=1000 * statistics.median(overhead_s),
        p95_ms=1000 * overhead_s[int(0.95 * (len(overhead_s) - 1))],
    )
    share = "" if row.efficiency is None else f"{row.efficiency:.3f}"
    print(_ROW.format(**asdict(row), ideal=ideal or "", share=share), flush=True)
    return row


def _start(servers: BareServers, case: Case) -> list[str]:
    """Start the processes of a case; their names."""
    if case.what == REAL:
        commands = [processes.inference_worker("cpu", INFERENCE_QUEUES) for _ in range(case.gpus)]
    else:
        n_processes = 1 if case.what == ONE_BELL else min(PROCESSES, case.gpus)
        shares = itertools.pairwise(n * case.gpus // n_processes for n in range(n_processes + 1))
        commands = [_simulated(range(*share), case) for share in shares]
    speed = AUDIO_S / case.chunk_s if case.chunk_s else 0.0
    names = [f"worker-{n}" for n in range(len(commands))]
    for name, command in zip(names, commands, strict=True):
        servers.start(name, command, SCRIBELANE_FAKE_SPEED=str(speed))
    return names


def _simulated(gpus: range, case: Case) -> Command:
    argv = [sys.executable, "-m", "benchmarks.simulated_gpus", str(gpus.start), str(len(gpus)), str(case.chunk_s)]
    return Command([*argv, "one-bell"] if case.what == ONE_BELL else argv)


def _dispatcher(servers: BareServers) -> Dispatcher:
    celery = make_celery(servers.environment["SCRIBELANE_BROKER_URL"])
    return Dispatcher(servers.database, celery, Promises(30, 15, tiers.load().max_waits_s()))


def _await(servers: BareServers, count: str, wanted: int, within_s: float) -> None:
    until = time.monotonic() + within_s
    while servers.rows(count)[0].n != wanted:
        assert time.monotonic() < until, f"not within {within_s} s: {count} = {wanted}"
        time.sleep(0.25)


if __name__ == "__main__":
    sys.exit(main())
