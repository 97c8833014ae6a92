"""Is the service quick to those who wait while its workers are busy? `python benchmarks/responsiveness.py`

Starts `scribelane up`, then measures how long a status request and a search take, idle and while a long recording
keeps the inference worker and every core busy; and how long the API takes from its start to its first answer.
The table goes to standard output and to `benchmarks/results/responsiveness.json`. The exit status is 1 if a median is
above its limit.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import httpx

from service.embedded import free_port
from service.launch import LocalService, running

EXAMPLES = Path(__file__).parents[1] / "examples"
REPEATS = 12
"""The sample recording this often is a quarter of an hour: minutes of work for two cores."""
CALLS = 100
LIMITS_MS = {"status": 50.0, "search": 300.0, "API start": 2000.0}
"""Highest accepted median of each kind of call."""
QUESTION = "Why does the tide come later every day?"
RESULTS = Path(__file__).parent / "results" / "responsiveness.json"


@dataclass(frozen=True, slots=True)
class Row:
    """Times of one kind of call, in milliseconds."""

    what: str
    calls: int
    median_ms: float
    p95_ms: float
    worst_ms: float


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory(prefix="scribelane-bench-") as name, running(Path(name) / "data") as service:
        rows = measure(service, long_recording(Path(name)))
    report(rows)
    if slow := [row.what for row in rows if row.median_ms > limit_ms(row)]:
        sys.exit(f"slower than the limit: {', '.join(slow)}")


def limit_ms(row: Row) -> float:
    """The limit of a row's kind."""
    return next(limit for kind, limit in LIMITS_MS.items() if row.what.startswith(kind))


def measure(service: LocalService, recording: Path) -> list[Row]:
    """Everything idle, then again while the recording is transcribed."""
    with service.client() as client:
        client.wait(client.embed(EXAMPLES / "tides.pdf").id)
        rows = [api_start(service), *waits(service, "idle")]
        job = client.transcribe(recording)
        while client.job(job.id).chunks_done < 1:
            time.sleep(0.2)
        rows += waits(service, "busy")
        if client.job(job.id).ended:
            sys.exit("the recording was done before the measurement was; raise REPEATS")
        client.cancel(job.id)
    return rows


def long_recording(folder: Path) -> Path:
    """The sample recording, repeated, as FLAC."""
    path = folder / "long.flac"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("flac", rate=16_000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        for _ in range(REPEATS):
            with av.open(str(EXAMPLES / "tides.ogg")) as source:
                for frame in source.decode(audio=0):
                    for resampled in resampler.resample(frame):
                        resampled.pts = None
                        target.mux(stream.encode(resampled))
        target.mux(stream.encode(None))
    return path


def waits(service: LocalService, load: str) -> list[Row]:
    """Status and search, over one kept connection each, as a polling client does."""
    headers = {"Authorization": f"Bearer {service.key}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=30) as http:
        job_id = http.get("/v1/jobs").json()["data"][0]["id"]
        return [
            timed(f"status, {load}", lambda: http.get(f"/v1/jobs/{job_id}").raise_for_status()),
            timed(f"search, {load}", lambda: http.post("/v1/search", json={"query": QUESTION}).raise_for_status()),
        ]


def timed(what: str, call: Callable[[], object]) -> Row:
    """The call `CALLS` times, after one that does not count."""
    call()
    took_ms = sorted(1000 * seconds(call) for _ in range(CALLS))
    return Row(what, CALLS, statistics.median(took_ms), took_ms[int(0.95 * CALLS)], took_ms[-1])


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def api_start(service: LocalService) -> Row:
    """From the start of another API process on the same servers to its first `/healthz`."""
    environment = {**os.environ, **json.loads((service.folder / "environment.json").read_text())}
    command = [sys.executable, "-m", "service.cli"]
    took_ms = []
    for _ in range(5):
        port = free_port()
        started = time.perf_counter()
        process = subprocess.Popen([*command, "api", "--port", str(port)], env=environment)
        while not answers(f"http://127.0.0.1:{port}/healthz"):
            time.sleep(0.01)
        took_ms.append(1000 * (time.perf_counter() - started))
        process.terminate()
        process.wait()
    return Row("API start to /healthz, idle", len(took_ms), statistics.median(took_ms), max(took_ms), max(took_ms))


def answers(url: str) -> bool:
    """Whether somebody listens and is well."""
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.HTTPError:
        return False


def report(rows: list[Row]) -> None:
    """One table, and the same as JSON."""
    print(f"{'what':<30}{'calls':>7}{'median ms':>12}{'p95 ms':>10}{'worst ms':>10}")
    for row in rows:
        print(f"{row.what:<30}{row.calls:>7}{row.median_ms:>12.1f}{row.p95_ms:>10.1f}{row.worst_ms:>10.1f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
