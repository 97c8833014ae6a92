"""Does memory stay flat, and do workers take new processes without standing still? Many chunks, then many recycles.

First a whole service on this machine with the fake engines, and after it another with real weights: recordings and PDFs
are submitted as long as chunks (transcribed or embedded) are wanted, while a client lists its jobs, searches, and reads
`/metrics`. Once a second the memory of every process is read (`benchmarks/memory.py`). Compared is what it kept in the
third and in the last quarter of the work. Flat is a growth of at most 1 KiB a fake chunk: a worker that is never idle
and takes ten seconds for a chunk would hold 260 MiB more after a month; and of 256 KiB a real chunk: less than if the
sound of one chunk in four (at least 30 s, 937 KiB as it is stored, twice that as it is decoded) were not let go.

Then a worker whose process ends after two chunks, over and over (`benchmarks/recycling.py`).

The tables go to standard output and to `benchmarks/results/soak.json`. The exit status is 1 if the memory of a process
is not flat (of 2,000 fake chunks and 50 real ones or more), a recycle stood still, or one was charged to a chunk. The
defaults are a short run; this one is long:

    .venv/bin/python -m benchmarks.soak --chunks 5000 --real 50 --recycles 140 --real-recycles 60
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import httpx

from benchmarks.loaded_service import SAMPLE, LoadedService, loaded_service
from benchmarks.memory import Growth, Watch
from benchmarks.recycling import Recycles, recycle
from benchmarks.responsiveness import QUESTION, long_recording
from service.answers import JobStatus
from service.client import Client

RESULTS = Path(__file__).parent / "results" / "soak.json"
PDF = SAMPLE.with_name("tides.pdf")
LIMIT_KIB = 1000.0
LIMIT_REAL_KIB = 256_000.0
"""Growth a thousand chunks."""
JUDGED_FROM, REAL_JUDGED_FROM = 2000, 50
"""In fewer, caches and pools still fill up, and a quarter of them shows little else."""
WITH_WEIGHTS = ("query child", "worker child")
"""What is judged of the real chunks: the few that there are would show how the others begin, and no more."""
FAKE = {"SCRIBELANE_WHISPER_MODEL": "fake", "SCRIBELANE_EMBEDDING_MODEL": "fake", "SCRIBELANE_FAKE_SPEED": "2000"}
SHORT_CHUNKS = {"SCRIBELANE_CHUNK_AUDIO_S": "30", "SCRIBELANE_CHUNK_TARGET_S": "0.01"}
_OPEN_JOBS = 6
_POLL_S = 1.0

_DONE = "SELECT count(*) AS n FROM chunks WHERE stage IN ('transcribe', 'embed') AND status = 'done'"
_OPEN = "SELECT count(*) AS n FROM jobs WHERE status IN ('queued', 'processing')"
_FAILED = "SELECT id, error_code FROM jobs WHERE status = 'failed'"

Submit = Callable[[Client], JobStatus]


def main() -> int:
    """Soak, recycle, print; 1 if something does not hold."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--chunks", type=int, default=500, help="fake ones")
    asked.add_argument("--real", type=int, default=20, help="chunks with real weights")
    asked.add_argument("--recycles", type=int, default=10, help="with the fake engines")
    asked.add_argument("--real-recycles", type=int, default=4, help="with real weights")
    options, _ = asked.parse_known_args()  # `make bench` passes every benchmark the options of all
    held, found = True, dict[str, object]()
    for kind, chunks, limit_kib, judged_from, engines in (
        ("fake", options.chunks, LIMIT_KIB, JUDGED_FROM, FAKE),
        ("real", options.real, LIMIT_REAL_KIB, REAL_JUDGED_FROM, {}),
    ):
        if chunks:
            watch = _soak(chunks, engines)
            growths = [one for one in watch.growth(limit_kib) if kind == "fake" or one.process in WITH_WEIGHTS]
            _print_growths(f"{chunks} {kind} chunks", growths)
            if chunks >= judged_from:
                held &= all(one.flat for one in growths)
            else:
                print(f"too few to judge by: fewer than {judged_from} show how processes begin\n", flush=True)
            _keep(found, f"{kind}: chunks, KiB", watch.samples)
    for kind, n, engines in (("fake", options.recycles, FAKE), ("real", options.real_recycles, {})):
        if n:
            recycles = recycle(n, {**SHORT_CHUNKS, **engines})
            _print_recycles(kind, recycles)
            held &= recycles.held
            _keep(found, f"{kind}: recycles", asdict(recycles))
    return 0 if held else 1


def _keep(found: dict[str, object], what: str, value: object) -> None:
    """Write what was found so far: the whole takes long."""
    found[what] = value
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found) + "\n")


def _soak(chunks: int, engines: Mapping[str, str]) -> Watch:
    with (
        tempfile.TemporaryDirectory() as folder,
        loaded_service(["soak"], **SHORT_CHUNKS, **engines) as service,
        httpx.Client(base_url=service.local.url, trust_env=False) as monitor,
    ):
        watch, client = Watch(service.local.process.pid), service.clients["soak"]
        inputs = _inputs(long_recording(Path(folder)))
        while (done := service.rows(_DONE)[0].n) < chunks:
            for _ in range(_OPEN_JOBS - service.rows(_OPEN)[0].n):
                next(inputs)(client)
            client.jobs()
            client.search(QUESTION)
            monitor.get("/metrics").raise_for_status()
            watch.sample(done)
            _refuse_failures(service)
            time.sleep(_POLL_S)
    return watch


def _inputs(long: Path) -> Iterator[Submit]:
    """A quarter of an hour of speech, two recordings of a minute and a half, four PDFs; and again."""
    submits: Sequence[Submit] = (
        lambda client: client.transcribe(long, force=True),
        *[lambda client: client.transcribe(SAMPLE, force=True)] * 2,
        *[lambda client: client.embed(PDF, force=True)] * 4,
    )
    return itertools.cycle(submits)


def _refuse_failures(service: LoadedService) -> None:
    if failed := service.rows(_FAILED):
        sys.exit(f"a job failed, so this is no soak: {failed[0]}\n{service.local.log_tail()}")


def _print_growths(what: str, growths: Sequence[Growth]) -> None:
    head = f"{'at 10 %, MiB':>13} {'at half':>9} {'at the end':>11} {'most':>7} {'KiB per 1,000 chunks':>21}  flat"
    print(f"{what:<24} {head}")
    for one in growths:
        held = [kib / 1024 for kib in (one.early_kib, one.half_kib, one.end_kib, one.most_kib)]
        kept = f"{held[0]:>13.1f} {held[1]:>9.1f} {held[2]:>11.1f} {held[3]:>7.1f}"
        print(f"{one.process:<24} {kept} {one.grows_kib:>21.0f}  {'yes' if one.flat else 'no'}")
    print(flush=True)


def _print_recycles(kind: str, one: Recycles) -> None:
    print(f"{one.recycles} recycles with {kind} engines, {one.chunks} chunks: median {one.median_s:.1f} s", end=", ")
    print(f"worst {one.worst_s:.1f} s, stuck {one.stuck}, charged {one.charged}, left over {one.left_over}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
