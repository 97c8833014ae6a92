"""Clients that send one request after the other, as fast as they are answered or paced, and note how long each took.

They run in a process of their own, so that they and the benchmark do not wait for each other, on one asyncio loop over
bare streams: a request is bytes that were made before, so a client costs a small part of what the service does.
`Answers.cpu` says how much of a core they took.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit


class Request(Protocol):
    """Makes the n-th request of a client, as the bytes that go over the connection. It travels to another process."""

    def __call__(self, client: int, n: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients at once, each over a kept connection: first unmeasured, then measured, in seconds.

    A client waits until `every_s` after it sent its last request, and the clients begin evenly within that time.
    """

    url: str
    request: Request
    clients: int
    warm_s: float
    measured_s: float
    expected: int
    every_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What was measured. `took_s` is sorted, of every request sent in the measured time; `per_s` counts the answers in
    it; `cpu` is the share of one core that the clients took.
    """

    took_s: Sequence[float]
    per_s: float
    cpu: float

    def quantile_ms(self, q: float) -> float:
        """The time that the share `q` of the answers did not exceed, in milliseconds."""
        return 1000 * self.took_s[min(int(q * len(self.took_s)), len(self.took_s) - 1)]


def put(load: Load) -> Answers:
    """Put the load on the service from a new process. Raises `AssertionError` if an answer is not the expected one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_run, load).result()


def _run(load: Load) -> Answers:
    return asyncio.run(_all(load))


async def _all(load: Load) -> Answers:
    begins = time.perf_counter() + load.warm_s
    ends = begins + load.measured_s
    clients = [asyncio.create_task(_client(load, n, ends)) for n in range(load.clients)]
    await asyncio.sleep(load.warm_s)
    cpu_s = time.process_time()
    await asyncio.sleep(load.measured_s)
    cpu_s = time.process_time() - cpu_s
    times = [one for times in await asyncio.gather(*clients) for one in times]
    answered = sum(begins <= ended < ends for _, ended in times)
    took_s = sorted(ended - sent for sent, ended in times if sent >= begins)
    return Answers(took_s, answered / load.measured_s, cpu_s / load.measured_s)


async def _client(load: Load, client: int, ends: float) -> list[tuple[float, float]]:
    """When each request was sent and when it was answered, in order."""
    where = urlsplit(load.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    times: list[tuple[float, float]] = []
    await asyncio.sleep(load.every_s * client / load.clients)
    while (sent := time.perf_counter()) < ends:
        writer.write(load.request(client, len(times)))
        status = await _answer(reader)
        times.append((sent, time.perf_counter()))
        assert status == load.expected, f"answered {status}"
        await asyncio.sleep(sent + load.every_s - times[-1][1])
    writer.close()
    return times


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read one whole answer; its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return int(head.split(b" ", 2)[1])
