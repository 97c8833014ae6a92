"""What a process gives up before it opens what a stranger sent: memory, time, disk, files, network, programs.

`confined` calls `confine` first of all; nothing of it can be taken back, not even by code that a decoder was tricked
into running. The network is closed by a seccomp filter and not by a namespace of its own: containers refuse those to
whoever is not privileged, and a namespace leaves open the local sockets of the database and the broker.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers.inputs.landlock import enclose

MAX_OPEN_FILES = 64
_LAST_S = 5
"""From SIGXCPU, which tells what it was, to SIGKILL, which does not."""

_ROOMS = Path(__file__).parents[2]
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
# Classic BPF, as <linux/bpf_common.h>.
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_CALL, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT = 0, 4, 16  # in `struct seccomp_data`, little-endian
_X32_CALLS = 0x40000000  # the second way to call the kernel of x86-64; aarch64 has no number so high


@dataclass(frozen=True, slots=True)
class _Machine:
    """Its AUDIT_ARCH_*, and the numbers of its calls, as <asm/unistd.h>.

    Refused are sockets, with io_uring as the way around the filter; other programs and processes; what reaches into
    another process of the same user or ends it; memory and keys that processes share; and what Landlock leaves open:
    to shorten a file by its name (before Linux 6.2), to change its owner, its times, its attributes, or who may use it.
    `clone` makes threads, which decoders need, and nothing else.
    """

    architecture: int
    refused: tuple[int, ...]
    clone: int


# In four lines, those in brackets on x86-64 alone:
# socket execve execveat (fork vfork) ptrace process_vm_readv process_vm_writev io_uring_setup pidfd_getfd
# kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal
# truncate (chmod) fchmod fchmodat fchmodat2 (chown lchown) fchown fchownat (utime utimes futimesat) utimensat
#   setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr
# shmget shmat shmctl unshare add_key request_key keyctl
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        refused=(
            *(41, 59, 322, 57, 58, 101, 310, 311, 425, 438),
            *(62, 200, 234, 129, 297, 424),
            *(76, 90, 91, 268, 452, 92, 94, 93, 260, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199),
            *(29, 30, 31, 272, 248, 249, 250),
        ),
        clone=56,
    ),
    "aarch64": _Machine(
        0xC00000B7,
        refused=(
            *(198, 221, 281, 117, 270, 271, 425, 438),
            *(129, 130, 131, 138, 240, 424),
            *(45, 52, 53, 452, 55, 54, 88, 5, 6, 7, 14, 15, 16),
            *(194, 196, 195, 97, 217, 218, 219),
        ),
        clone=220,
    ),
}
_CLONE3, _CLONE_THREAD = 435, 0x00010000


@dataclass(frozen=True, slots=True)
class Reach:
    """The one file that a process is to read, and the folder in which it may make files."""

    source: Path
    folder: Path

    def readable(self) -> list[Path]:
        """The file, and what any program in Python needs: its libraries, and our own code."""
        libraries = [Path(entry) for entry in sys.path if entry.endswith("-packages")]
        libraries += [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry]
        system = [Path(sys.prefix), Path(sys.base_prefix), *map(Path, _SYSTEM)]
        return [self.source, *(_ROOMS / name for name in ("core", "models", "workers")), *libraries, *system]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one process: all of its memory (address space), processor time, and the length of a file that it writes."""

    memory_bytes: int
    cpu_s: int
    file_bytes: int


def confine(bounds: Bounds, reach: Reach) -> list[str]:
    """Bind this process for good, and tell it to end with its parent. Returns what the system does not offer."""
    steps: Sequence[tuple[str, Callable[[], None]]] = (
        ("memory", lambda: _limit(resource.RLIMIT_AS, bounds.memory_bytes)),
        ("processor time", lambda: _limit(resource.RLIMIT_CPU, bounds.cpu_s, _LAST_S)),
        ("disk", lambda: _limit(resource.RLIMIT_FSIZE, bounds.file_bytes)),
        ("open files", lambda: _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)),
        ("core dumps", lambda: _limit(resource.RLIMIT_CORE, 0)),
        ("end with the worker", lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)),
        ("other files", lambda: _enclose(reach)),
        ("other processes and the network", _close_off),
    )
    with suppress(OSError):  # where memory runs out all the same, this process goes before any other
        Path("/proc/self/oom_score_adj").write_text("1000")
    return [name for name, step in steps if not _holds(step)]


def _holds(step: Callable[[], None]) -> bool:
    try:
        step()
    except (OSError, ValueError, AttributeError):  # the last where the C library has no prctl
        return False
    return True


def _limit(kind: int, most: int, margin: int = 0) -> None:
    """At `most` the system refuses, or signals; a `margin` above it, where there is one, it kills."""
    hard = resource.getrlimit(kind)[1]
    bound = most + margin if hard == resource.RLIM_INFINITY else min(most + margin, hard)
    resource.setrlimit(kind, (min(most, bound), bound))


def _prctl(option: int, *values: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in values]
    # The kernel takes four, and refuses leftovers in those that an option does not use.
    if libc.prctl(option, *words, *[ctypes.c_ulong(0)] * (4 - len(words))):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _enclose(reach: Reach) -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    enclose(reach.readable(), reach.folder)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _close_off() -> None:
    """Refuse the calls of `_Machine` from now on, and see that it is so. Raises `OSError` if it is not."""
    machine = _MACHINES.get(os.uname().machine)
    if sys.platform != "linux" or machine is None or sys.maxsize < 2**32:
        raise OSError(errno.ENOSYS, "no filter is known for this system")
    instructions = _filter(machine)
    program = _Program(len(instructions) // 8, instructions)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.socket(1, 1, 0) != -1:
        raise OSError(errno.ENOSYS, "the filter does not hold")


def _filter(machine: _Machine) -> bytes:
    """A program that looks at the architecture, then at the call's number, and ends in one of three answers.

    `clone3` has its flags in memory, where a filter cannot look: it is unknown here, and C libraries use `clone` then.
    """

    def instruction(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_so, if_not, value)

    n = len(machine.refused)
    tests = [instruction(_JUMP_IF_EQUAL, call, if_so=n - at + 4) for at, call in enumerate(machine.refused)]
    return b"".join(
        (
            instruction(_LOAD, _AT_ARCHITECTURE),
            instruction(_JUMP_IF_EQUAL, machine.architecture, if_not=n + 7),
            instruction(_LOAD, _AT_CALL),
            instruction(_JUMP_IF_AT_LEAST, _X32_CALLS, if_so=n + 5),
            *tests,
            instruction(_JUMP_IF_EQUAL, _CLONE3, if_so=5),
            instruction(_JUMP_IF_EQUAL, machine.clone, if_not=2),
            instruction(_LOAD, _AT_FIRST_ARGUMENT),
            instruction(_JUMP_IF_SET, _CLONE_THREAD, if_not=1),
            instruction(_RETURN, _ALLOW),
            instruction(_RETURN, _REFUSE),
            instruction(_RETURN, _UNKNOWN),
        )
    )
