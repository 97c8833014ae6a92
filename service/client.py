"""The Python client: submit, poll, fetch, search. Needs httpx only; the command line stands on it.

with Client("http://127.0.0.1:8000", key) as client:
    job = client.transcribe(Path("talk.mp3"))
    client.wait(job.id)
    print(client.transcript(job.id))
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx

POLL_S = 0.5
_ENDED = frozenset({"completed", "failed", "cancelled"})
_AWAY = frozenset({"unreachable", "unavailable"})
_AWAY_RETRIES_S = 60.0
_LONGEST_PAUSE_S = 8.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ClientError(Exception):
    """The service refused, or did not answer. `code` is the service's stable code, or `unreachable`.

    `retry_after_s` is what the service asks to wait before the same call, 0 if it says nothing.
    """

    def __init__(self, code: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class _BrokeOff(ClientError):
    """The connection ended in between: the request may have arrived, or not."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as the service reports it; `eta_s` is None until measured, `raw` is the whole answer."""

    id: str
    kind: str
    status: str
    stage: str
    name: str
    chunks_done: int
    chunks_total: int | None
    percent: int
    eta_s: float | None
    warnings: Sequence[Mapping[str, str]]
    error: Mapping[str, Any] | None
    created_at: str
    raw: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in _ENDED


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found, with the pages or the seconds where it stands."""

    job_id: str
    kind: str
    name: str
    text: str
    score: float
    citation: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Quota:
    """Seconds of audio, or pages, in this period; a limit or a remainder of None is unlimited."""

    limit: float | None
    granted: float
    used: float
    reserved: float
    remaining: float | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account has used and has left from `period_start` to `period_end`; `raw` is the whole answer."""

    tier: str
    period_start: str
    period_end: str
    audio_s: Quota
    pages: Quota
    raw: Mapping[str, Any]


class Client:
    """One service, one key. Raises `ClientError`; use it as a context manager."""

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0) -> None:
        if not (key.isascii() and key.isprintable()):
            raise ClientError("unauthorized", "The key holds a character that no key has.")
        self._url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            trust_env=httpx.URL(url).host not in _LOOPBACK,  # no proxy of the environment reaches this machine itself
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._http.close()

    def transcribe(self, file: Path, options: Mapping[str, str] | None = None) -> JobStatus:
        """Upload a recording; returns the accepted job, one even if the connection breaks off on the way."""
        return self._submit("/v1/transcriptions", file, options or {})

    def embed(self, file: Path, options: Mapping[str, str] | None = None) -> JobStatus:
        """Upload a PDF; returns the accepted job, one even if the connection breaks off on the way."""
        return self._submit("/v1/documents", file, options or {})

    def job(self, job_id: str) -> JobStatus:
        """The job as it stands."""
        return _job(self._json("GET", f"/v1/jobs/{job_id}"))

    def jobs(self, *, limit: int = 20, status: str | None = None) -> list[JobStatus]:
        """One's jobs, the newest first."""
        query = {"limit": str(limit), **({"status": status} if status else {})}
        return [_job(job) for job in self._json("GET", "/v1/jobs", params=query)["data"]]

    def wait(self, job_id: str, on_change: Callable[[JobStatus], None] = lambda job: None) -> JobStatus:
        """Poll until the job has ended, through a restart or a used-up rate too; returns how it ended."""
        last_answer = time.monotonic()
        while True:
            pause_s = POLL_S
            try:
                job = self.job(job_id)
                last_answer = time.monotonic()
                on_change(job)
                if job.ended:
                    return job
            except ClientError as error:
                if error.code == "rate_limited":
                    last_answer = time.monotonic()  # it is not away
                elif error.code not in _AWAY or time.monotonic() - last_answer > _AWAY_RETRIES_S:
                    raise
                pause_s = max(pause_s, error.retry_after_s)
            time.sleep(pause_s)

    def cancel(self, job_id: str) -> JobStatus:
        """Stop a job; what is done stays readable."""
        return _job(self._json("POST", f"/v1/jobs/{job_id}/cancel"))

    def retry(self, job_id: str) -> JobStatus:
        """Try a failed job again; only what is not done is worked."""
        return _job(self._json("POST", f"/v1/jobs/{job_id}/retry"))

    def transcript(self, job_id: str, form: str = "text") -> str:
        """The transcript as `text` or `json`, or what is done of it so far."""
        return self._call("GET", f"/v1/jobs/{job_id}/transcript", params={"format": form}).text

    def search(self, query: str, *, limit: int = 10, kind: str | None = None) -> list[Hit]:
        """The passages nearest in meaning to the query, best first."""
        body = {"query": query, "limit": limit, **({"kind": kind} if kind else {})}
        hits = self._json("POST", "/v1/search", json=body)["hits"]
        names = ("job_id", "kind", "name", "text", "score", "citation")
        return [Hit(**{name: hit[name] for name in names}) for hit in hits]

    def usage(self) -> Usage:
        """What is used and left of this month's quotas."""
        raw = self._json("GET", "/v1/usage")
        quotas = {unit: Quota(**{name: raw[unit][name] for name in Quota.__slots__}) for unit in ("audio_s", "pages")}
        return Usage(raw["tier"], raw["period"]["start"], raw["period"]["end"], **quotas, raw=raw)

    def _submit(self, path: str, file: Path, options: Mapping[str, str]) -> JobStatus:
        # Under this key the service makes one job, however often the request has to be sent.
        headers = {"Idempotency-Key": str(uuid4())}
        with file.open("rb") as content:

            def send() -> JobStatus:
                content.seek(0)
                # Options go first: the service reads the form as it arrives.
                form = {"data": dict(options), "files": {"file": (file.name, content)}}
                return _job(self._json("POST", path, headers=headers, **form))

            return _sent_through_breaks(send)

    def _json(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._call(method, path, **more)
            return answer.json()
        except ValueError as error:  # a page of something that stands in between, such as a proxy's login
            raise ClientError("refused", f"{self._url} does not answer as Scribelane does.") from error

    def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol))
            kind = ClientError if never_sent else _BrokeOff
            raise kind("unreachable", f"{self._url} does not answer: {error}") from error
        if answer.is_error:
            raise _refusal(answer)
        return answer


def _sent_through_breaks(send: Callable[[], JobStatus]) -> JobStatus:
    """Send a submit; if the connection breaks off, send it again until it is answered.

    Given up when the pauses come to `_AWAY_RETRIES_S`. How long sending takes does not count: a long upload may break
    off late and more than once. The pauses grow, so that it is sent a dozen times at most.
    """
    broke_off = False
    pause_s, paused_s = POLL_S, 0.0
    while True:
        try:
            return send()
        except ClientError as error:
            broke_off = broke_off or isinstance(error, _BrokeOff)
            # A service that is just gone, or that has not noticed yet that the first connection broke.
            away = error.code in {*_AWAY, "idempotency_in_flight"} and paused_s < _AWAY_RETRIES_S
            if not broke_off or not (away or error.code == "rate_limited"):
                raise
            wait_s = max(pause_s, error.retry_after_s)
            if away:
                pause_s, paused_s = min(pause_s * 2, _LONGEST_PAUSE_S), paused_s + wait_s
        time.sleep(wait_s)


def _refusal(answer: httpx.Response) -> ClientError:
    try:
        problem = answer.json()
        return ClientError(problem["code"], problem["detail"], _retry_after_s(answer))
    except (ValueError, KeyError, TypeError):
        return ClientError("unavailable" if answer.status_code >= 500 else "refused", f"HTTP {answer.status_code}")


def _retry_after_s(answer: httpx.Response) -> float:
    seconds = answer.headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0.0  # a date, of something that stands in between, says nothing


def _job(raw: Mapping[str, Any]) -> JobStatus:
    progress = raw["progress"]
    return JobStatus(
        id=raw["id"],
        kind=raw["kind"],
        status=raw["status"],
        stage=raw["stage"],
        name=raw["input"]["name"],
        chunks_done=progress["chunks_done"],
        chunks_total=progress["chunks_total"],
        percent=progress["percent"],
        eta_s=raw["eta_s"],
        warnings=raw["warnings"],
        error=raw["error"],
        created_at=raw["created_at"],
        raw=raw,
    )
