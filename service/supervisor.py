"""Keeps child processes running: started in order, restarted when they die, stopped in reverse order.

`scribelane up` uses it for the servers and the workers; the tests use it for the same processes.
A child that dies comes back after a growing pause. Children end with their parent even if that is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from core.courtesy import give_way

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
_LOG_KEEP_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Program:
    """What to run and how to end it: `stop_signal`, then SIGKILL after `grace_s`.

    `orphan_signal` is what the system sends it when the supervisor itself is killed (Linux only).
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    grace_s: float = 10.0
    user: str | None = None
    folder: Path | None = None
    stdin: Path = Path(os.devnull)
    niceness: int = 0


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    started_at: float
    pause_s: float = _FIRST_PAUSE_S
    restart_at: float | None = None


class Stopped(Exception):
    """The supervisor was asked to stop: end the programs in order."""


class Supervisor:
    """Runs programs; each writes to `LOG_FOLDER/<name>.log`. Use it from one thread. `clock` tells seconds."""

    def __init__(self, log_folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._log_folder = log_folder
        self._clock = clock
        self._log_folder.mkdir(parents=True, exist_ok=True)
        self._children: dict[str, _Child] = {}
        self._stop_asked = False

    def start(self, program: Program) -> int:
        """Start a program; returns its process id."""
        process = self._spawn(program)
        self._children[program.name] = _Child(program, process, self._clock())
        return process.pid

    def names(self) -> list[str]:
        """The programs in the order in which they were started."""
        return list(self._children)

    def pid(self, name: str) -> int:
        """The process id of a program as it runs now."""
        return self._children[name].process.pid

    def log_of(self, name: str) -> Path:
        """The file that a program writes to."""
        return self._log_folder / f"{name}.log"

    def ask_to_stop(self) -> None:
        """Make the next `tend` raise `Stopped`. Safe in a signal handler, where raising could interrupt anything."""
        self._stop_asked = True

    def tend(self) -> None:
        """Restart what has died and waited long enough; call it about once a second. Raises `Stopped` if asked to."""
        if self._stop_asked:
            raise Stopped
        now = self._clock()
        for child in self._children.values():
            if child.restart_at is not None:
                if now >= child.restart_at:
                    child.process, child.started_at, child.restart_at = self._spawn(child.program), now, None
            elif child.process.poll() is not None:
                steady = now - child.started_at > _STEADY_S
                child.restart_at = now + (_FIRST_PAUSE_S if steady else child.pause_s)
                child.pause_s = _FIRST_PAUSE_S * 2 if steady else min(child.pause_s * 2, _LONGEST_PAUSE_S)
                log.warning("restarting", program=child.program.name, exit=child.process.returncode)

    def exited(self, name: str) -> bool:
        """Whether a program is down at the moment."""
        return self._children[name].process.poll() is not None

    def stop(self, *names: str) -> None:
        """Stop these programs together, or all of them one by one, the last started first."""
        groups = [list(names)] if names else [[name] for name in reversed(self._children)]
        for group in groups:
            children = [self._children.pop(name) for name in group if name in self._children]
            for child in children:
                if child.process.poll() is None:
                    child.process.send_signal(child.program.stop_signal)
            for child in children:
                self._await_end(child)

    def _await_end(self, child: _Child) -> None:
        try:
            child.process.wait(child.program.grace_s)
        except subprocess.TimeoutExpired:
            log.warning("did not stop in time; killing it", program=child.program.name)
            child.process.kill()
            child.process.wait()

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        path = self.log_of(program.name)
        if path.exists() and path.stat().st_size > _LOG_KEEP_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as output, program.stdin.open("rb") as stdin:
            return subprocess.Popen(
                program.argv,
                env={**os.environ, **program.environment},
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=program.user,
                cwd=program.folder,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops its children in order
                preexec_fn=_prepare(program.orphan_signal, program.niceness),
            )


def _prepare(orphan_signal: signal.Signals, niceness: int) -> Callable[[], None]:
    """What the child does before it becomes the program."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(orphan_signal))
        if niceness:
            give_way(niceness)

    return prepare
