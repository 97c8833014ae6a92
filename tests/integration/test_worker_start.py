"""A worker that cannot work takes no work, and the processes that need few libraries start with few."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ctranslate2
import pytest
import redis

from core.dispatch import Dispatcher
from core.lanes import INFERENCE_QUEUES
from core.settings import Settings
from core.store.accounts import Account
from core.store.session import Database
from service import processes
from service.supervisor import Program, Supervisor
from tests.integration import work
from tests.waiting import until

ROOT = Path(__file__).parents[2]

WITHOUT_WORKER_LIBRARIES = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
import workers.tasks
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "logs")
    yield supervisor
    supervisor.stop()


def test_a_worker_that_cannot_start_leaves_the_work_to_others(
    settings: Settings,
    database: Database,
    account: Account,
    dispatcher: Dispatcher,
    broker: redis.Redis,
    supervisor: Supervisor,
) -> None:
    command = processes.io_worker()
    servers = {
        "SCRIBELANE_DATABASE_URL": settings.database_url,
        "SCRIBELANE_BROKER_URL": settings.broker_url,
        "SCRIBELANE_BLOB_URL": "file:///proc/nowhere",
    }
    supervisor.start(Program("io", command.argv, {**command.environment, **servers}, grace_s=1))
    job_id = work.submit(database, account)
    dispatcher.round()

    until(lambda: "this worker cannot start" in supervisor.log_of("io").read_text(), within_s=60)

    (chunk,) = work.chunk_rows(database, job_id)
    assert (chunk.status, chunk.attempt) == ("queued", 0)
    assert work.execute(database, "SELECT count(*) FROM workers")[0][0] == 0


@pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="there is a GPU that answers")
def test_a_worker_whose_gpu_does_not_answer_leaves_the_work_to_others(
    settings: Settings,
    database: Database,
    account: Account,
    dispatcher: Dispatcher,
    broker: redis.Redis,
    supervisor: Supervisor,
) -> None:
    command = processes.inference_worker("cuda:0", INFERENCE_QUEUES)
    servers = {
        "SCRIBELANE_DATABASE_URL": settings.database_url,
        "SCRIBELANE_BROKER_URL": settings.broker_url,
        "SCRIBELANE_BLOB_URL": settings.blob_url,
    }
    supervisor.start(Program("gpu", command.argv, {**command.environment, **servers}, grace_s=1))
    job_id = work.submit(database, account)
    work.prepare(database, job_id, 1)
    dispatcher.round()

    until(lambda: "cuda:0 does not answer" in supervisor.log_of("gpu").read_text(), within_s=60)

    chunk = work.chunk_rows(database, job_id)[-1]
    assert (chunk.stage, chunk.status, chunk.attempt) == ("transcribe", "queued", 0)
    assert work.execute(database, "SELECT count(*) FROM workers")[0][0] == 0


def test_numbers_that_a_device_has_not_stop_whoever_infers_on_it_and_nobody_else(
    settings: Settings, database: Database, broker: redis.Redis, supervisor: Supervisor
) -> None:
    own = {
        "SCRIBELANE_DATABASE_URL": settings.database_url,
        "SCRIBELANE_BROKER_URL": settings.broker_url,
        "SCRIBELANE_BLOB_URL": settings.blob_url,
        "SCRIBELANE_COMPUTE_TYPE": "int8_float16",
    }
    for name, command in (
        ("infers", processes.inference_worker("cpu", INFERENCE_QUEUES)),
        ("opens", processes.io_worker()),
    ):
        supervisor.start(Program(name, command.argv, {**command.environment, **own}, grace_s=1))

    until(lambda: "worker ready" in supervisor.log_of("opens").read_text(), within_s=60)
    until(lambda: "cpu does not compute in int8_float16" in supervisor.log_of("infers").read_text(), within_s=60)
    assert "worker ready" not in supervisor.log_of("infers").read_text()


def test_beat_starts_where_the_libraries_of_workers_are_not_installed() -> None:
    names = {"av", "ctranslate2", "faster_whisper", "pypdf", "semchunk", "sentence_transformers"}
    names |= {"tokenizers", "torch", "huggingface_hub"}
    program = WITHOUT_WORKER_LIBRARIES.replace("{names!r}", repr(names))
    environment = {"SCRIBELANE_BROKER_URL": "redis://127.0.0.1:1/0"}

    started = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert started.returncode == 0, started.stderr
