"""A whole service for a benchmark of load: real servers and processes, the fake engine, accounts with their clients."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import sqlalchemy as sa
from sqlalchemy.engine import Row

from core.lanes import Tier
from core.store import accounts
from core.store.session import Database
from service import launch
from service.client import Client
from service.launch import LocalService

ONE_PROCESS = {"SCRIBELANE_CPU_WORKERS": "1"}
"""One worker is one process, as on a GPU: what is measured is how they share, not how the engine uses a CPU."""

SAMPLE = Path(__file__).parents[1] / "examples" / "tides.ogg"


@dataclass(frozen=True, slots=True)
class LoadedService:
    """A running service, its database, and a client for each account by name."""

    local: LocalService
    database: Database
    clients: Mapping[str, Client]

    def rows(self, statement: str, **values: object) -> Sequence[Row[Any]]:
        """What the database says."""
        with self.database.transaction() as connection:
            return connection.execute(sa.text(statement), values).all()

    @property
    def environment(self) -> dict[str, str]:
        """What another process needs to join the service."""
        return {**os.environ, **ONE_PROCESS, **json.loads((self.local.folder / "environment.json").read_text())}


@contextmanager
def loaded_service(names: Sequence[str], **environment: str) -> Iterator[LoadedService]:
    """Start a service with these accounts, all of the tier `enterprise`: what is compared is not their plans."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        local = stack.enter_context(launch.running(folder / "up", {**ONE_PROCESS, **environment}))
        url = json.loads((local.folder / "environment.json").read_text())["SCRIBELANE_DATABASE_URL"]
        database = Database(url)
        stack.callback(database.close)
        clients = {}
        for name in names:
            with database.transaction() as connection:
                account = accounts.create(connection, name, Tier.ENTERPRISE)
                key = accounts.issue_key(connection, account.id)
            clients[name] = stack.enter_context(Client(local.url, key))
        yield LoadedService(local, database, clients)


def beginning_of_the_sample(target: Path, length_s: float) -> Path:
    """The first seconds of the sample recording as a wav file."""
    with av.open(str(SAMPLE)) as source, av.open(str(target), "w", format="wav") as sink:
        stream = sink.add_stream("pcm_s16le", rate=16_000, layout="mono")
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        for frame in source.decode(audio=0):
            if frame.time is not None and frame.time >= length_s:
                break
            for piece in resampler.resample(frame):
                sink.mux(stream.encode(piece))
        sink.mux(stream.encode(None))
    return target
