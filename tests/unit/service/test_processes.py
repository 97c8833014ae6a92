"""The command lines of a deployment: which queues a worker takes from, and which device it is shown."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

from core.errors import Misconfigured
from core.lanes import INFERENCE_QUEUES, IO_QUEUES
from service import processes
from service.cores import Division, Machine
from service.processes import Command

LANES = ["express", "standard", "batch"]


@pytest.fixture(autouse=True)
def _all_gpus_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def option(command: Command, name: str) -> str:
    return command.argv[list(command.argv).index(name) + 1]


@pytest.mark.parametrize(
    "command",
    [
        processes.api("127.0.0.1", 8000),
        processes.inference_worker("cpu", LANES),
        processes.io_worker(),
        processes.query_worker(),
        processes.beat(),
    ],
)
def test_every_process_runs_on_this_interpreter_from_a_module_that_is_there(command: Command) -> None:
    assert list(command.argv[:2]) == [sys.executable, "-m"]
    assert importlib.util.find_spec(command.argv[2]) is not None


def test_the_api_listens_where_it_is_told() -> None:
    command = processes.api("0.0.0.0", 8123)

    assert (option(command, "--host"), option(command, "--port")) == ("0.0.0.0", "8123")


@pytest.mark.parametrize("asked", [LANES, ["batch", "express", "standard"], ["standard", "batch", "express"]])
def test_lanes_are_taken_by_their_urgency_in_whatever_order_they_are_asked_for(asked: list[str]) -> None:
    assert option(processes.inference_worker("cpu", asked), "--queues") == "express,standard,batch"


def test_a_worker_may_take_one_lane_alone() -> None:
    assert option(processes.inference_worker("cpu", ["batch"]), "--queues") == "batch"


@pytest.mark.parametrize("lanes", [["fast"], ["express", "io.express"], ["control"], []])
def test_a_lane_that_is_none_is_refused_with_the_names_that_there_are(lanes: list[str]) -> None:
    with pytest.raises(Misconfigured, match="express, standard, batch"):
        processes.inference_worker("cpu", lanes)


@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:", "cuda:x", "cuda:-1", "mps", "", "cpu:0", "cuda:1.5"])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(Misconfigured, match="No device"):
        processes.inference_worker(device, LANES)


def test_a_worker_knows_the_queues_that_it_takes_from_and_who_it_is() -> None:
    command = processes.inference_worker("cpu", ["express"])

    assert command.environment["SCRIBELANE_QUEUES"] == option(command, "--queues") == "express"
    assert command.environment["SCRIBELANE_WORKER_ID"] == option(command, "--hostname")


def test_no_two_workers_have_one_name() -> None:
    names = {option(processes.inference_worker("cpu", LANES), "--hostname") for _ in range(20)}

    assert len(names) == 20


def test_a_cpu_worker_is_shown_no_gpu() -> None:
    environment = processes.inference_worker("cpu", LANES).environment

    assert (environment["SCRIBELANE_DEVICE"], environment["CUDA_VISIBLE_DEVICES"]) == ("cpu", "")


def test_a_gpu_worker_is_shown_its_own_gpu_alone() -> None:
    assert processes.inference_worker("cuda:1", LANES).environment["CUDA_VISIBLE_DEVICES"] == "1"


def test_where_some_gpus_are_shown_a_worker_gets_the_nth_of_those(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab12")

    assert processes.inference_worker("cuda:1", LANES).environment["CUDA_VISIBLE_DEVICES"] == "GPU-ab12"


@pytest.mark.parametrize("shown", ["3,5", ""])
def test_a_gpu_beyond_those_that_are_shown_is_refused(monkeypatch: pytest.MonkeyPatch, shown: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)

    with pytest.raises(Misconfigured, match="CUDA_VISIBLE_DEVICES"):
        processes.inference_worker("cuda:2", LANES)


def test_the_io_worker_takes_the_io_lanes_and_no_gpu() -> None:
    command = processes.io_worker()

    assert option(command, "--queues") == ",".join(IO_QUEUES)
    assert command.environment["CUDA_VISIBLE_DEVICES"] == ""


def test_the_query_worker_takes_queries_on_one_thread_of_the_cpu() -> None:
    command = processes.query_worker()

    assert option(command, "--queues") == "query"
    assert command.environment["OMP_NUM_THREADS"] == "1"


def test_every_queue_has_a_process_that_takes_from_it() -> None:
    commands = [processes.inference_worker("cpu", LANES), processes.io_worker(), processes.query_worker()]
    taken = {queue for command in [*commands, processes.beat()] for queue in option(command, "--queues").split(",")}

    assert taken == {*INFERENCE_QUEUES, *IO_QUEUES, "query", "control"}


def test_a_gpu_worker_infers_in_one_process() -> None:
    assert option(processes.inference_worker("cuda:0", LANES, Division(4, 1)), "--concurrency") == "1"


@pytest.mark.parametrize("none", ["-1", "", "-1,0"])
def test_where_no_gpu_is_shown_there_is_none(none: str) -> None:
    assert processes.shown_gpus(none) == []


@pytest.mark.parametrize("all_cores", ["0", "", " "])
def test_no_number_of_threads_means_all_cores(monkeypatch: pytest.MonkeyPatch, all_cores: str) -> None:
    monkeypatch.setenv("SCRIBELANE_THREADS", all_cores)
    monkeypatch.setenv("OMP_NUM_THREADS", "")

    environment = processes.inference_worker("cpu", ["express"]).environment

    assert int(environment["SCRIBELANE_THREADS"]) == len(os.sched_getaffinity(0))
    assert environment["OMP_NUM_THREADS"] == environment["SCRIBELANE_THREADS"]


def test_a_worker_for_queries_takes_nothing_else() -> None:
    with pytest.raises(Misconfigured, match="query"):
        processes.inference_worker("cpu", ["express", "query"])


@pytest.mark.parametrize(("asked", "children", "threads"), [("", 4, "2"), ("2", 2, "4"), ("16", 16, "1")])
def test_the_processes_of_a_cpu_worker_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, asked: str, children: int, threads: str
) -> None:
    monkeypatch.setattr(processes, "this_machine", lambda: Machine(cores=8, memory_bytes=2**36))
    monkeypatch.setenv("SCRIBELANE_CPU_WORKERS", asked)
    monkeypatch.delenv("SCRIBELANE_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    command = processes.inference_worker("cpu", ["express"], processes.cpu_division())

    assert option(command, "--concurrency") == str(children)
    assert command.environment["SCRIBELANE_THREADS"] == command.environment["OMP_NUM_THREADS"] == threads


def test_searches_are_answered_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIBELANE_CPU_WORKERS", "4")

    assert option(processes.inference_worker("cpu", ["query"], processes.cpu_division()), "--concurrency") == "1"


def test_a_number_of_processes_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIBELANE_CPU_WORKERS", "two")

    with pytest.raises(Misconfigured, match="SCRIBELANE_CPU_WORKERS"):
        processes.cpu_division()
