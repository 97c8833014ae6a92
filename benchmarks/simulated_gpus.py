"""Simulated GPUs: each is a thread that works chunks as a worker process does, but for what takes the time.

Real: the messages, taken from the broker by kombu one at a time and acknowledged when the chunk is done; the worker's
whole path through a chunk (`workers.attempts`: claim, heartbeat and lease, the chunk's audio from the blob store, the
completion, the measured speed) on connections of its own; and, after each chunk, its ring for a dispatch round.

Simulated: inference is a sleep. The GPUs of one process share an interpreter, so that 64 fit on two cores, and Celery's
consumer with its pool is left out, which costs a real worker a hop between two processes for each chunk:
`benchmarks/scaling.py` has real workers beside these.

    python -m benchmarks.simulated_gpus FIRST N CHUNK_S [one-bell]    GPUs number FIRST to FIRST + N - 1, until SIGTERM
"""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
from kombu import Consumer
from numpy.typing import NDArray

from core import tiers
from core.broker import make_celery
from core.dispatch import WORKER_SILENCE_BEATS, Bell, Dispatcher
from core.lanes import INFERENCE_QUEUES
from core.logs import configure_logging
from core.settings import Settings, settings
from core.store.blobs import Blobs
from core.store.chunks import Claim
from core.store.session import Database
from core.store.turns import Promises
from core.store.workers import WorkerRecord
from models.engine import Clip, TranscribeOptions, Transcription
from models.fake import FakeTranscriber
from models.pool import Pool
from workers.attempts import Attempts
from workers.engines import Weights
from workers.inputs.ocr import OcrLimits
from workers.inputs.process import OpenLimits
from workers.lease import Heartbeat, Pace
from workers.scratch import Scratch, take
from workers.stages.context import Context, InputLimits

_POLL_S = 1.0


class Inferring(FakeTranscriber):
    """Takes a fixed time for a chunk, in one sleep."""

    def __init__(self, chunk_s: float) -> None:
        super().__init__()
        self._chunk_s = chunk_s

    def transcribe(
        self, audio: NDArray[np.float32], clips: Sequence[Clip], options: TranscribeOptions
    ) -> Transcription:
        time.sleep(self._chunk_s)
        return super().transcribe(audio, clips, options)


def main(first: int, n_gpus: int, chunk_s: float, one_bell: bool) -> None:
    """Work until SIGTERM; then every GPU finishes its chunk."""
    own, stop = settings(), threading.Event()
    configure_logging(own.log_level)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    scratch, shared = take(), None
    gpus: list[Attempts] = []
    for number in range(first, first + n_gpus):
        gpus.append(_attempts(own, scratch, number, chunk_s, shared))
        shared = gpus[0].context.bell if one_bell else None
    threads = [threading.Thread(target=_work, args=(gpu, own.broker_url, stop)) for gpu in gpus]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scratch.remove()


def _work(gpu: Attempts, broker_url: str, stop: threading.Event) -> None:
    """Take messages as Celery does: the most urgent queue first, one at a time, acknowledged late."""

    def received(body: Any, message: Any) -> None:
        gpu.work(UUID(body[0][0]))
        message.ack()

    celery = make_celery(broker_url)
    queues = [queue for queue in celery.conf.task_queues if queue.name in INFERENCE_QUEUES]
    with celery.connection_for_read() as connection, connection.channel() as channel:
        consumer = Consumer(channel, queues, callbacks=[received], prefetch_count=1, auto_declare=False)
        with consumer:
            while not stop.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=_POLL_S)
    gpu.context.bell.close()
    gpu.heartbeat.stop()
    gpu.context.database.close()


def _attempts(own: Settings, scratch: Scratch, number: int, chunk_s: float, shared: Bell | None) -> Attempts:
    """What `workers.runtime.start` builds for a process, for one of several GPUs in this one."""
    database, blobs, plans = Database(own.database_url), Blobs(own.blob_url), tiers.load(own.tiers_file)
    promises = Promises(own.redispatch_s, own.heartbeat_s * WORKER_SILENCE_BEATS, plans.max_waits_s())
    dispatcher = Dispatcher(database, make_celery(own.broker_url), promises)
    host = socket.gethostname()
    record = WorkerRecord(f"gpu/{number}", host, os.getpid(), f"cuda:{number}", INFERENCE_QUEUES, (), None)
    context = Context(
        database=database,
        bell=shared or Bell(dispatcher),
        blobs=blobs,
        weights=Weights(own.models_dir, own.cache_dir, download=False),
        pool=Pool(lambda _name, _kind: Inferring(chunk_s), math.inf),
        tiers=plans,
        limits=InputLimits(
            own.pdf_max_pages,
            own.chunk_target_s,
            own.chunk_audio_s,
            OpenLimits(2**30, 60, 60),
            OcrLimits("eng", 0, 1, 1, 2**30),
        ),
        device=f"{host}/{record.device}",
        default_whisper="fake",
        query_model="fake",
        scratch=scratch.folder,
    )

    def describe(claim: Claim | None) -> WorkerRecord:
        return replace(record, current_chunk=claim.chunk_id if claim else None)

    return Attempts(
        worker_id=record.id,
        lease_s=own.lease_s,
        max_failures=own.max_failures,
        heartbeat=Heartbeat(database, Pace(own.heartbeat_s, own.lease_s, own.stall_s), describe),
        context=context,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), "one-bell" in sys.argv[4:])
