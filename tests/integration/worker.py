"""The path of a chunk through a worker, in this process and with real stores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import tiers
from core.dispatch import Bell, Dispatcher
from core.store.blobs import Blobs
from core.store.workers import WorkerRecord
from models.pool import Pool
from tests.integration import work
from workers.attempts import Attempts
from workers.engines import Loader, Weights
from workers.inputs.ocr import OcrLimits
from workers.inputs.process import OpenLimits
from workers.lease import Heartbeat, Pace
from workers.stages.context import Context, InputLimits

SAMPLE = Path(__file__).parents[2] / "examples" / "tides.ogg"  # of 87 s


def context(dispatcher: Dispatcher, folder: Path, tiers_file: Path) -> Context:
    """What a worker is given that infers with fakes and keeps its media in `folder`."""
    weights = Weights(None, folder, download=False)
    return Context(
        database=dispatcher.database,
        bell=Bell(dispatcher),
        blobs=Blobs((folder / "blobs").as_uri()),
        weights=weights,
        pool=Pool(Loader(weights, "cpu", 1, 0), math.inf),
        tiers=tiers.load(tiers_file),
        limits=InputLimits(
            10, 10, 60, OpenLimits(memory_bytes=2**30, total_s=60, step_s=60), OcrLimits("eng", 5, 60, 60, 2**30)
        ),
        device="host/cpu",
        default_whisper=work.MODEL,
        query_model=work.MODEL,
        scratch=folder,
    )


@contextmanager
def working(context: Context) -> Iterator[Attempts]:
    """A worker that has begun, for the length of the block."""
    record = WorkerRecord("w/0", "host", 1, "cpu", ("io.express",), (), None)
    heartbeat = Heartbeat(context.database, Pace(5, 60, 300), lambda claim: record)
    try:
        yield Attempts("w/0", 60, 3, heartbeat, context)
    finally:
        heartbeat.stop()
        context.bell.close()
