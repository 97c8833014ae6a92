"""What a submit costs: submits per second, and how long one takes, with 1 and with 32 clients at once.

One real API process (uvicorn, as `scribelane api` starts it) on a real PostgreSQL and a real Valkey; real multipart
uploads of a wav file of one second over the loopback, from `benchmarks/http_load.py`: a process of its own, whose share
of a core is the last column. A client sends its next submit as soon as the last one is answered, so the clients press
as hard as they can, and their number over the rate is about how long one waits. No worker takes anything: the jobs pile
up. Measured is the empty queue, and again with 10,000 jobs that wait; without an `Idempotency-Key`, and with a new one
for each submit, as the client library sends it. Then the same clients, but each sends once a second.

The accounts, one a client, are of the tier `enterprise` with no more than its limit of requests a minute raised. The
baseline is `GET /healthz` of the same process by the same clients: what HTTP, uvicorn and FastAPI cost alone.

The table goes to standard output and to `benchmarks/results/submit.json`. The exit status is 1 if the 99th percentile
of the 32 clients that send once a second is 100 ms or more. Of those that press it is what the machine's cores make it.

    .venv/bin/python -m benchmarks.submit [--seconds 8] [--queued 10000] [--quick]
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
import urllib.request
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.error import URLError
from uuid import uuid4

from benchmarks.bare_servers import BareServers, bare_servers
from benchmarks.http_load import Load, put
from core.lanes import Tier
from core.store import accounts
from service import processes
from service.embedded import free_port

RESULTS = Path(__file__).parent / "results" / "submit.json"
LIMIT_MS = 100.0
CLIENTS = (1, 32)
WARM_S = 1.0
PACE_S = 1.0
HOST = "127.0.0.1"
_TIERS = "[tiers.enterprise]\nrequests_per_minute = 1_000_000\n"
PACED = "  each once a second"
_START_S = 60

# As the API leaves them: of each account so many are admitted and have their first chunk, the others wait without.
_FILL = """
INSERT INTO jobs (id, account_id, kind, status, stage, lane, tier, input_type, input_name, options, metadata,
                  concurrent_jobs, chunks_left, admitted_at, expires_at)
SELECT uuidv7(), o.id, 'transcription', 'queued', 'prepare', 'express', 'enterprise', 'upload', 'talk.wav', '{}', '{}',
       100, 1, CASE WHEN n.n / o.n_accounts < 100 THEN now() END, now() + interval '30 days'
FROM generate_series(0, :n_jobs - 1) n
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS n, count(*) OVER () AS n_accounts FROM accounts) o
     ON o.n = mod(n.n, o.n_accounts)
"""
_FIRST_CHUNKS = """
INSERT INTO chunks (job_id, account_id, stage, ordinal, queue, input)
SELECT id, account_id, 'prepare', 0, 'io.express', '{}' FROM jobs WHERE admitted_at IS NOT NULL
"""
_QUEUED = "SELECT count(*) AS n FROM jobs WHERE status = 'queued'"
_HEAD = (
    "what              clients   queued before     after    per s    ratio      p50       p99     worst   clients' CPU"
)
_ROW = (
    "{what:<20}{clients:>7} {queued_before:>14} {queued_after:>9} {per_s:>8.1f} {ratio:>7.3f} {p50_ms:>5.1f} ms"
    " {p99_ms:>6.1f} ms {worst_ms:>6.1f} ms {clients_cpu:>12.0%}"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One load. Times in milliseconds; `ratio` is its rate against `/healthz` by as many clients."""

    what: str
    clients: int
    queued_before: int
    queued_after: int
    per_s: float
    ratio: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    clients_cpu: float


@dataclass(frozen=True, slots=True)
class Get:
    """`GET /healthz`."""

    def __call__(self, client: int, n: int) -> bytes:
        return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Submit:
    """An upload by a client with its key; `once` adds an `Idempotency-Key` of its own."""

    keys: Sequence[str]
    media: bytes
    once: bool

    def __call__(self, client: int, n: int) -> bytes:
        boundary = "scribelane"
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="{{}}"{{}}\r\n\r\n'
        body = (part.format("model", "") + "fake\r\n" + part.format("file", '; filename="talk.wav"')).encode()
        body += self.media + f"\r\n--{boundary}--\r\n".encode()
        head = [
            "POST /v1/transcriptions HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {self.keys[client]}",
            f"Content-Type: multipart/form-data; boundary={boundary}",
            f"Content-Length: {len(body)}",
            *([f"Idempotency-Key: {uuid4()}"] if self.once else []),
        ]
        return "\r\n".join([*head, "", ""]).encode() + body


def main() -> int:
    """Measure every load; 1 if a submit by many clients takes too long."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seconds", type=float, default=8, help="for each line of the table")
    asked.add_argument("--queued", type=int, default=10_000, help="the jobs that wait, for the second half")
    asked.add_argument("--quick", action="store_true", help="two seconds a line: to try it out, not for figures")
    options, _ = asked.parse_known_args()  # `make bench` passes every benchmark the options of all
    print(_HEAD)
    with bare_servers() as servers, _api(servers) as url:
        rows = list(_measure(servers, url, 2 if options.quick else options.seconds, options.queued))
    RESULTS.parent.mkdir(exist_ok=True)
    result = {"unit": "ms", "limit_p99": LIMIT_MS, "rows": [asdict(row) for row in rows]}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if any(row.p99_ms >= LIMIT_MS for row in rows if row.what == PACED) else 0


@contextmanager
def _api(servers: BareServers) -> Iterator[str]:
    """An API process on the servers; its address, once it answers."""
    tiers = servers.folder / "tiers.toml"
    tiers.write_text(_TIERS)
    url = f"http://{HOST}:{(port := free_port())}"
    servers.start("api", processes.api(HOST, port), SCRIBELANE_TIERS_FILE=str(tiers))
    until = time.monotonic() + _START_S
    while not _answers(url):
        assert time.monotonic() < until, servers.supervisor.log_of("api").read_text()
        time.sleep(0.1)
    yield url


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/healthz", timeout=5):
            return True
    except URLError:
        return False


def _measure(servers: BareServers, url: str, seconds: float, n_queued: int) -> Iterator[Row]:
    keys, media = _keys(servers), _one_second()
    healthz: dict[int, float] = {}
    for clients in CLIENTS:
        row = _put(servers, Load(url, Get(), clients, WARM_S, seconds, 200), "GET /healthz", healthz)
        yield row
    for first in (0, n_queued):
        _fill(servers, first)
        for what, once in (("submit", False), ("submit, with a key", True)):
            for clients in CLIENTS:
                load = Load(url, Submit(keys, media, once), clients, WARM_S, seconds, 202)
                yield _put(servers, load, what, healthz)
        load = Load(url, Submit(keys, media, True), max(CLIENTS), WARM_S, seconds, 202, PACE_S)
        yield _put(servers, load, PACED, healthz)


def _put(servers: BareServers, load: Load, what: str, healthz: dict[int, float]) -> Row:
    before = _queued(servers)
    answers = put(load)
    row = Row(
        what=what,
        clients=load.clients,
        queued_before=before,
        queued_after=_queued(servers),
        per_s=answers.per_s,
        ratio=answers.per_s / healthz.setdefault(load.clients, answers.per_s),
        p50_ms=answers.quantile_ms(0.5),
        p99_ms=answers.quantile_ms(0.99),
        worst_ms=answers.quantile_ms(1),
        clients_cpu=answers.cpu,
    )
    print(_ROW.format(**asdict(row)), flush=True)
    return row


def _keys(servers: BareServers) -> list[str]:
    """A key of a new account for each client."""
    with servers.database.transaction() as connection:
        made = [accounts.create(connection, f"account {n}", Tier.ENTERPRISE) for n in range(max(CLIENTS))]
        return [accounts.issue_key(connection, account.id) for account in made]


def _fill(servers: BareServers, n_jobs: int) -> None:
    """Begin anew with so many jobs that wait."""
    servers.rows("TRUNCATE jobs CASCADE")
    servers.rows(_FILL, n_jobs=n_jobs)
    servers.rows(_FIRST_CHUNKS)
    servers.rows("ANALYZE")  # what autovacuum does on a server that runs on


def _queued(servers: BareServers) -> int:
    return int(servers.rows(_QUEUED)[0].n)


def _one_second() -> bytes:
    """A wav file: one second of silence, 16 kHz mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(32_000))
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
