"""Children run until they are told to stop: they come back, end in order, and never outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import supervisor as supervisor_module
from service.supervisor import Program, Supervisor
from tests.waiting import until

SLEEPS = ["sleep", "300"]
ROOT = Path(__file__).parents[3]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "logs")
    yield supervisor
    supervisor.stop()


def kill(supervisor: Supervisor, pid: int) -> None:
    for child in supervisor._children.values():
        child.pause_s = 0.01  # a test has no time for the pause of half a second
    os.kill(pid, signal.SIGKILL)


def replaced(supervisor: Supervisor, name: str, old: int) -> bool:
    supervisor.tend()
    return supervisor.pid(name) != old


def restarted(supervisor: Supervisor, name: str, old: int) -> bool:
    return replaced(supervisor, name, old) and alive(supervisor.pid(name))


def test_a_child_that_is_killed_comes_back(supervisor: Supervisor) -> None:
    pid = supervisor.start(Program("one", SLEEPS))

    kill(supervisor, pid)

    until(lambda: restarted(supervisor, "one", pid))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def pause_before_restart(supervisor: Supervisor, clock: Clock, step_s: float = 0.25) -> float:
    """Let the program `one` die and come back; how long that took on the clock."""
    until(lambda: supervisor.exited("one"))
    supervisor.tend()
    died_s, pid = clock.now_s, supervisor.pid("one")
    while not replaced(supervisor, "one", pid):
        clock.now_s += step_s
    return clock.now_s - died_s


def test_a_child_that_keeps_dying_comes_back_ever_later(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "logs", clock := Clock())
    supervisor.start(Program("one", ["false"]))

    pauses = [pause_before_restart(supervisor, clock) for _ in range(9)]

    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    supervisor.stop()


def test_a_child_that_ran_long_comes_back_soon_again(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "logs", clock := Clock())
    supervisor.start(Program("one", ["false"]))
    for _ in range(5):
        pause_before_restart(supervisor, clock)

    clock.now_s += 61

    assert [pause_before_restart(supervisor, clock) for _ in range(3)] == [0.5, 1, 2]
    supervisor.stop()


def test_the_others_run_on_while_one_comes_back(supervisor: Supervisor) -> None:
    steady = supervisor.start(Program("steady", SLEEPS))
    pid = supervisor.start(Program("one", SLEEPS))

    kill(supervisor, pid)
    until(lambda: restarted(supervisor, "one", pid))

    assert supervisor.pid("steady") == steady


def test_a_child_writes_to_the_log_of_its_name(supervisor: Supervisor) -> None:
    supervisor.start(Program("one", shell("echo out; echo err >&2")))

    until(lambda: supervisor.log_of("one").read_text().split() == ["out", "err"])


def test_a_child_sees_its_environment_and_that_of_its_parent(supervisor: Supervisor) -> None:
    supervisor.start(Program("one", shell("echo $LANE $PATH"), {"LANE": "express"}))

    until(lambda: supervisor.log_of("one").read_text().startswith(f"express {os.environ['PATH']}"))


def test_children_stop_one_by_one_the_last_started_first(supervisor: Supervisor, tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        note = f"trap 'echo {name} >> {tmp_path}/order; exit' TERM; echo up; while :; do sleep 0.01; done"
        supervisor.start(Program(name, shell(note)))
        until(lambda: "up" in supervisor.log_of(name).read_text())  # noqa: B023

    supervisor.stop()

    assert (tmp_path / "order").read_text().split() == ["third", "second", "first"]


def test_named_children_stop_and_the_others_run_on(supervisor: Supervisor) -> None:
    stopped, kept = (supervisor.start(Program(name, SLEEPS)) for name in ("stopped", "kept"))

    supervisor.stop("stopped")

    assert (alive(stopped), alive(kept), supervisor.names()) == (False, True, ["kept"])


def test_a_child_is_stopped_by_its_own_signal(supervisor: Supervisor) -> None:
    note = shell("trap 'echo interrupted; exit' INT; echo up; while :; do sleep 0.01; done")
    supervisor.start(Program("one", note, stop_signal=signal.SIGINT))
    log = supervisor.log_of("one")
    until(lambda: "up" in log.read_text())

    supervisor.stop()

    assert "interrupted" in log.read_text()


def test_a_child_that_does_not_stop_in_time_is_killed(supervisor: Supervisor) -> None:
    stubborn = shell("trap '' TERM; echo up; while :; do sleep 0.01; done")
    pid = supervisor.start(Program("one", stubborn, grace_s=0.1))
    until(lambda: "up" in supervisor.log_of("one").read_text())

    supervisor.stop()

    assert not alive(pid)


def test_a_child_that_waits_to_come_back_is_not_started_by_a_stop(supervisor: Supervisor) -> None:
    supervisor.start(Program("one", ["false"]))
    until(lambda: supervisor.exited("one"))
    supervisor.tend()

    supervisor.stop()
    supervisor.tend()

    assert supervisor.names() == []


def test_a_child_does_not_hear_the_ctrl_c_of_its_parent(supervisor: Supervisor) -> None:
    pid = supervisor.start(Program("one", SLEEPS))

    assert os.getsid(pid) == pid != os.getsid(0)


def test_a_log_that_has_grown_large_is_put_aside(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "_LOG_KEEP_BYTES", 3)
    supervisor.log_of("one").write_text("long ago")

    supervisor.start(Program("one", shell("echo now")))

    until(lambda: supervisor.log_of("one").read_text() == "now\n")
    assert supervisor.log_of("one").with_suffix(".log.1").read_text() == "long ago"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux ends children with their parent")
def test_a_child_ends_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import pathlib, signal, sys; from service.supervisor import Program, Supervisor;"
        "pid = Supervisor(pathlib.Path(sys.argv[1])).start(Program('one', ['sleep', '300']));"
        "print(pid, flush=True); signal.pause()"
    )
    argv = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)

        parent.kill()

    until(lambda: not alive(pid))
