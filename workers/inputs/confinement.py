"""What a process gives up before it opens what a stranger sent: memory, time, disk, files, network, programs.

`confined` calls `confine` first of all; nothing of it can be taken back, not even by code that a decoder was tricked
into running. The network is closed by a seccomp filter and not by a namespace of its own: containers refuse those to
whoever is not privileged, and a namespace leaves open the local sockets of the database and the broker.

`fetcher` calls it too, and keeps the network, which `workers.outgoing` guards, and one program (`Online`).
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

from workers.inputs.landlock import NOTHING_ELSE, Grants, enclose

MAX_OPEN_FILES = 64
MAX_OPEN_FILES_ONLINE = 256
_LAST_S = 5
"""From SIGXCPU, which tells what it was, to SIGKILL, which does not."""

_ROOMS = Path(__file__).parents[2]
_LOADERS = ("/lib64", "/lib")  # the kernel starts one for each program
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")
_NAMES = ("resolv.conf", "hosts", "host.conf", "nsswitch.conf", "gai.conf", "services", "localtime")
_CERTIFICATES = ("ssl", "pki", "ca-certificates")
_RESOLVED = "/run/systemd/resolve"  # where `resolv.conf` may lead to
_CERTIFICATES_NAMED_BY = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_RANDOM, _NULL = Path("/dev/urandom"), Path("/dev/null")

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
    `clone` makes threads, which decoders need, and nothing else. `refused_online`: who fetches needs sockets and a
    program of its own, and ends and times what is its own.
    """

    architecture: int
    refused: tuple[int, ...]
    refused_online: tuple[int, ...]
    clone: int
    programs: tuple[int, int]
    """Those of the refused calls that begin another program."""


# `refused` in four lines, those in brackets on x86-64 alone:
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
        refused_online=(
            *(101, 310, 311, 425, 438),
            *(62, 200, 129, 297, 424),
            *(76, 90, 91, 268, 452, 92, 94, 93, 260, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199),
            *(29, 30, 31, 272, 248, 249, 250),
        ),
        clone=56,
        programs=(59, 322),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        refused=(
            *(198, 221, 281, 117, 270, 271, 425, 438),
            *(129, 130, 131, 138, 240, 424),
            *(45, 52, 53, 452, 55, 54, 88, 5, 6, 7, 14, 15, 16),
            *(194, 196, 195, 97, 217, 218, 219),
        ),
        refused_online=(
            *(117, 270, 271, 425, 438),
            *(129, 130, 138, 240, 424),
            *(45, 52, 53, 452, 55, 54, 88, 5, 6, 7, 14, 15, 16),
            *(194, 196, 195, 97, 217, 218, 219),
        ),
        clone=220,
        programs=(221, 281),
    ),
}
_CLONE3, _CLONE_THREAD = 435, 0x00010000
_NO_CALL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Online:
    """Besides the network: programs that the process starts, and files that it reads. Of its memory only its own is
    bounded, not the address space: a runtime of JavaScript reserves far more of that than it uses.
    """

    programs: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()

    def readable(self) -> list[Path]:
        """These files, and what names of hosts and certificates are looked up in."""
        etc = [Path("/etc") / name for name in (*_NAMES, *_CERTIFICATES)]
        named = [Path(os.environ[name]) for name in _CERTIFICATES_NAMED_BY if os.environ.get(name)]
        return [*self.files, *etc, *named, Path(_RESOLVED), _RANDOM]


def _loaders() -> list[Path]:
    return [path for folder in _LOADERS for path in Path(folder).glob("ld-*.so*")]


@dataclass(frozen=True, slots=True)
class Reach:
    """The one file that a process is to read, the folder in which it may make files, what program it becomes; of one
    that fetches, the folder for both, and what it has `online`.
    """

    source: Path
    folder: Path
    program: Path | None = None
    online: Online | None = None

    def grants(self) -> Grants:
        """What it may do besides reading."""
        if self.online is not None:
            # The loader starts any program that can be read: it is there only where a program has to be.
            programs = (*self.online.programs, *_loaders()) if self.online.programs else ()
            return Grants(programs, devices=(_NULL,), tidies=True)
        return NOTHING_ELSE if self.program is None else Grants((self.program, *_loaders()))

    def readable(self) -> list[Path]:
        """The file, and what any program in Python needs: its libraries, and our own code."""
        libraries = [Path(entry) for entry in sys.path if entry.endswith("-packages")]
        libraries += [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry]
        system = [Path(sys.prefix), Path(sys.base_prefix), *map(Path, _SYSTEM)]
        more = self.online.readable() if self.online else []
        return [self.source, *more, *(_ROOMS / name for name in ("core", "models", "workers")), *libraries, *system]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one process: all of its memory (address space), processor time, and the length of a file that it writes."""

    memory_bytes: int
    cpu_s: int
    file_bytes: int


def confine(bounds: Bounds, reach: Reach) -> list[str]:
    """Bind this process for good, and tell it to end with its parent. Returns what the system does not offer."""
    of_memory, open_files = resource.RLIMIT_AS, MAX_OPEN_FILES
    if reach.online is not None:
        of_memory, open_files = resource.RLIMIT_DATA, MAX_OPEN_FILES_ONLINE
    steps: Sequence[tuple[str, Callable[[], None]]] = (
        ("memory", lambda: _limit(of_memory, bounds.memory_bytes)),
        ("processor time", lambda: _limit(resource.RLIMIT_CPU, bounds.cpu_s, _LAST_S)),
        ("disk", lambda: _limit(resource.RLIMIT_FSIZE, bounds.file_bytes)),
        ("open files", lambda: _limit(resource.RLIMIT_NOFILE, open_files)),
        ("core dumps", lambda: _limit(resource.RLIMIT_CORE, 0)),
        ("end with the worker", lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)),
        ("other files", lambda: _enclose(reach)),
        ("other processes and the network", lambda: _close_off(reach)),
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
    enclose(reach.readable(), reach.folder, reach.grants())


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _close_off(reach: Reach) -> None:
    """Refuse the calls of `_Machine` from now on, and see that it is so. Raises `OSError` if it is not."""
    machine = _MACHINES.get(os.uname().machine)
    if sys.platform != "linux" or machine is None or sys.maxsize < 2**32:
        raise OSError(errno.ENOSYS, "no filter is known for this system")
    online = reach.online is not None
    refused = machine.refused_online if online else machine.refused
    if reach.program is not None:
        refused = tuple(call for call in refused if call not in machine.programs)
    instructions = _filter(machine, refused, _NO_CALL if online else machine.clone)
    program = _Program(len(instructions) // 8, instructions)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))
    libc = ctypes.CDLL(None, use_errno=True)
    # To open a socket, or to share memory of no size: nothing comes of it even where it is not refused.
    probe = (0, 0, 0) if online else (1, 1, 0)
    answer = libc.syscall(ctypes.c_long(refused[0]), *map(ctypes.c_long, probe))
    if answer != -1 or ctypes.get_errno() != errno.EPERM:
        raise OSError(errno.ENOSYS, "the filter does not hold")


def _filter(machine: _Machine, refused: Sequence[int], clone: int) -> bytes:
    """A program that looks at the architecture, then at the call's number, and ends in one of three answers.

    `clone3` has its flags in memory, where a filter cannot look: it is unknown here, and C libraries use `clone` then.
    """

    def instruction(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_so, if_not, value)

    n = len(refused)
    tests = [instruction(_JUMP_IF_EQUAL, call, if_so=n - at + 4) for at, call in enumerate(refused)]
    return b"".join(
        (
            instruction(_LOAD, _AT_ARCHITECTURE),
            instruction(_JUMP_IF_EQUAL, machine.architecture, if_not=n + 7),
            instruction(_LOAD, _AT_CALL),
            instruction(_JUMP_IF_AT_LEAST, _X32_CALLS, if_so=n + 5),
            *tests,
            instruction(_JUMP_IF_EQUAL, _CLONE3, if_so=5),
            instruction(_JUMP_IF_EQUAL, clone, if_not=2),
            instruction(_LOAD, _AT_FIRST_ARGUMENT),
            instruction(_JUMP_IF_SET, _CLONE_THREAD, if_not=1),
            instruction(_RETURN, _ALLOW),
            instruction(_RETURN, _REFUSE),
            instruction(_RETURN, _UNKNOWN),
        )
    )
