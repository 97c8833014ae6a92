"""The Python client: submit, poll, fetch, search. Needs httpx only; the command line stands on it.

with Client("http://127.0.0.1:8000", key) as client:
    job = client.transcribe(Path("talk.mp3"))
    client.wait(job.id)
    print(client.transcript(job.id))
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx

from service.answers import BatchStatus, Found, Hit, JobStatus, Usage, batch_of, found_of, job_of, usage_of
from service.patience import BrokeOff, ClientError, polled, sent_through_breaks

__all__ = ["MAX_ITEMS", "Client", "ClientError"]

MAX_ITEMS = 100
"""Of a batch. A test holds it to the service's own, which a client cannot import."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


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

    def transcribe(
        self, source: Path | str, options: Mapping[str, str] | None = None, *, force: bool = False
    ) -> JobStatus:
        """Upload a recording, or name the URL of one; returns the accepted job, one even if the connection breaks off.

        If the same was transcribed before, that job is returned, with `reused_from`; unless `force` is given.
        """
        return job_of(self._submitted_one("/v1/transcriptions", source, _forced(options, force)))

    def embed(self, source: Path | str, options: Mapping[str, str] | None = None, *, force: bool = False) -> JobStatus:
        """Upload a PDF, or name the URL of one; returns a job as `transcribe` does."""
        return job_of(self._submitted_one("/v1/documents", source, _forced(options, force)))

    def job(self, job_id: str) -> JobStatus:
        """The job as it stands."""
        return job_of(self._json("GET", f"/v1/jobs/{job_id}"))

    def jobs(self, *, limit: int = 20, status: str | None = None) -> list[JobStatus]:
        """One's jobs, the newest first."""
        query = {"limit": str(limit), **({"status": status} if status else {})}
        return [job_of(job) for job in self._json("GET", "/v1/jobs", params=query)["data"]]

    def wait(self, job_id: str, on_change: Callable[[JobStatus], None] = lambda job: None) -> JobStatus:
        """Poll until the job has ended, through a restart or a used-up rate too; returns how it ended."""
        return polled(lambda: self.job(job_id), on_change)

    def submit_batch(self, items: Sequence[tuple[Path, Mapping[str, Any]]], *, lane: str = "") -> BatchStatus:
        """Upload up to 100 recordings and PDFs at once, each with its options; `kind` is told from the file's name.

        Look at the items of the batch: each was accepted or refused by itself.
        """
        if not 1 <= len(items) <= MAX_ITEMS:
            raise ClientError("invalid_request", f"A batch takes 1 to {MAX_ITEMS} files, not {len(items)}.")
        names = _distinct([file.name for file, _ in items])
        described = [
            {"kind": "document" if file.suffix.lower() == ".pdf" else "transcription", **options, "file": name}
            for name, (file, options) in zip(names, items, strict=True)
        ]
        fields = {"items": json.dumps(described), **({"lane": lane} if lane else {})}
        files = [(name, file) for name, (file, _) in zip(names, items, strict=True)]
        return batch_of(self._submitted("/v1/batches", files, fields))

    def batch(self, batch_id: str) -> BatchStatus:
        """The batch as it stands."""
        return batch_of(self._json("GET", f"/v1/batches/{batch_id}"))

    def wait_batch(self, batch_id: str, on_change: Callable[[BatchStatus], None] = lambda batch: None) -> BatchStatus:
        """Poll until all jobs of a batch have ended; returns how they ended."""
        return polled(lambda: self.batch(batch_id), on_change)

    def cancel_batch(self, batch_id: str) -> BatchStatus:
        """Stop those jobs of a batch that have not ended; what is done stays readable."""
        return batch_of(self._json("POST", f"/v1/batches/{batch_id}/cancel"))

    def cancel(self, job_id: str) -> JobStatus:
        """Stop a job; what is done stays readable."""
        return job_of(self._json("POST", f"/v1/jobs/{job_id}/cancel"))

    def retry(self, job_id: str) -> JobStatus:
        """Try a failed job again; only what is not done is worked."""
        return job_of(self._json("POST", f"/v1/jobs/{job_id}/retry"))

    def transcript(self, job_id: str, form: str = "text") -> str:
        """The transcript as `text`, `json`, `srt`, `vtt` or `tsv`, or what is done of it so far."""
        return self._call("GET", f"/v1/jobs/{job_id}/transcript", params={"format": form}).text

    def passages(self, job_id: str, form: str = "jsonl", *, vectors: bool = False, model: str = "") -> Iterator[bytes]:
        """All passages of a job as `json`, `jsonl` or `parquet`, piece by piece; what breaks off is an error.

        `vectors` adds those of the job's own model, or of `model`. `json` is one object, as of a page that holds all.
        """
        path = f"/v1/jobs/{job_id}/passages"
        asked = {"format": form, "vectors": str(vectors).lower(), **({"model": model} if model else {})}
        return self._pages(path, asked) if form == "json" else self._streamed(path, asked)

    def _pages(self, path: str, asked: Mapping[str, str]) -> Iterator[bytes]:
        opening, cursor = '{"data": [\n', ""
        while True:
            page = self._json("GET", path, params={**asked, "limit": "1000", **({"cursor": cursor} if cursor else {})})
            yield (opening + ",\n".join(json.dumps(one, ensure_ascii=False) for one in page["data"])).encode()
            opening, cursor = ",\n", page["next_cursor"]
            if not cursor:
                break
        yield b'\n], "next_cursor": null}\n'

    def _streamed(self, path: str, asked: Mapping[str, str]) -> Iterator[bytes]:
        try:
            with self._http.stream("GET", path, params=asked) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refusal(answer)
                yield from answer.iter_bytes()
        except httpx.HTTPError as error:
            raise ClientError("unreachable", f"{self._url} does not answer to the end: {error}") from error

    def search(self, query: str, *, limit: int = 10, kind: str | None = None, **options: Any) -> list[Hit]:
        """The passages that answer the query, best first. `options` are further fields of `POST /v1/search`."""
        return self.found(query, limit=limit, kind=kind, **options).hits

    def found(self, query: str, **options: Any) -> Found:
        """The same, with how they were found; an option of None is left out."""
        body = {"query": query, **{name: value for name, value in options.items() if value is not None}}
        return found_of(self._json("POST", "/v1/search", json=body))

    def reindex(self, model: str) -> JobStatus:
        """Embed the passages of all accounts with this model; returns the accepted job. Takes an operator's key."""
        once = {"Idempotency-Key": str(uuid4())}
        body = {"model": model}
        return job_of(sent_through_breaks(lambda: self._json("POST", "/v1/reindexes", headers=once, json=body)))

    def drop_vectors(self, model: str) -> int:
        """Delete all vectors of a model; returns how many. Takes an operator's key."""
        n_deleted = 0
        while more := self._json("DELETE", "/v1/vectors", params={"model": model})["deleted"]:
            n_deleted += more
        return n_deleted

    def usage(self) -> Usage:
        """What is used and left of this month's quotas."""
        return usage_of(self._json("GET", "/v1/usage"))

    def _submitted_one(self, path: str, source: Path | str, fields: Mapping[str, str]) -> Any:
        if isinstance(source, Path):
            return self._submitted(path, [(source.name, source)], fields)
        headers = {"Idempotency-Key": str(uuid4())}
        body = {**{name: value for name, value in fields.items() if value}, "url": source}
        return sent_through_breaks(lambda: self._json("POST", path, headers=headers, json=body))

    def _submitted(self, path: str, files: Sequence[tuple[str, Path]], fields: Mapping[str, str]) -> Any:
        # Under this key the service makes one job or batch, however often the request has to be sent.
        headers = {"Idempotency-Key": str(uuid4())}
        with ExitStack() as opened:
            contents = [(name, opened.enter_context(file.open("rb"))) for name, file in files]

            def send() -> Any:
                for _, content in contents:
                    content.seek(0)
                # Options go first: the service reads the form as it arrives.
                form = {"data": dict(fields), "files": [("file", one) for one in contents]}
                return self._json("POST", path, headers=headers, **form)

            return sent_through_breaks(send)

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
            kind = ClientError if never_sent else BrokeOff
            raise kind("unreachable", f"{self._url} does not answer: {error}") from error
        if answer.is_error:
            raise _refusal(answer)
        return answer


def _forced(options: Mapping[str, str] | None, force: bool) -> Mapping[str, str]:
    return {**(options or {}), **({"force": "true"} if force else {})}


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number in those that came before: items of a batch tell files apart by their names."""
    distinct: list[str] = []
    for name in names:
        unique, n = name, 1
        while unique in distinct or (n > 1 and unique in names):
            n += 1
            unique = _numbered(name, n)
        distinct.append(unique)
    return distinct


def _numbered(name: str, n: int) -> str:
    """Such as `talk (2).mp3`."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem} ({n}){dot}{suffix}" if dot else f"{name} ({n})"


def _refusal(answer: httpx.Response) -> ClientError:
    try:
        problem = answer.json()
        return ClientError(problem["code"], problem["detail"], _retry_after_s(answer))
    except (ValueError, KeyError, TypeError):
        return ClientError("unavailable" if answer.status_code >= 500 else "refused", f"HTTP {answer.status_code}")


def _retry_after_s(answer: httpx.Response) -> float:
    seconds = answer.headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0.0  # a date, of something that stands in between, says nothing
