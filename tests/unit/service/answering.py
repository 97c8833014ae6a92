"""A server that gives the answers that a test wrote down, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from service.client import ClientError


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    retry_after: str = ""
    after_s: float = 0.0
    """How long the request takes."""


BROKEN_OFF = Answer(0, b"")
"""The request is read, and the connection closed without an answer."""


@dataclass
class Asked:
    """The requests that came in, as `METHOD path`, with their headers and bodies."""

    lines: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


def as_json(content: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode())


def as_job(status: str = "processing", done: int = 1) -> Answer:
    return as_json(
        {
            "id": "7",
            "kind": "transcription",
            "status": status,
            "stage": "transcribe",
            "input": {"name": "talk.wav"},
            "progress": {"chunks_done": done, "chunks_total": 4, "percent": 25 * done},
            "eta_s": None,
            "warnings": [],
            "error": None,
            "created_at": "2026-11-22T00:00:00Z",
        }
    )


def problem(status: int, code: str, retry_after: str = "") -> Answer:
    return replace(as_json({"code": code, "detail": f"This is {code}."}, status), retry_after=retry_after)


@contextmanager
def serving(*answers: Answer, port: int = 0) -> Iterator[tuple[str, Asked]]:
    """A server that gives these answers in turn, the last one for ever; with its URL and what it was asked."""
    asked = Asked()
    left = list(answers)

    class Door(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked.lines.append(f"{self.command} {self.path}")
            asked.headers.append(dict(self.headers))
            asked.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer.after_s:
                time.sleep(answer.after_s)
            if answer.status == BROKEN_OFF.status:
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            if answer.retry_after:
                self.send_header("Retry-After", answer.retry_after)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refused(call: Callable[[], object]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value
