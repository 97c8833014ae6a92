"""Which files a process may reach, by Linux's Landlock: all others are closed to it, whoever owns them.

`confinement` calls `enclose` for the process that opens one input. Closed with the files is `/proc`, through which a
process reaches into others of its user; Landlock besides lets no process that it holds look into one that it does not
(ptrace, `/proc/PID/mem`, `/proc/PID/environ`), root included. What the rights mean: <linux/landlock.h>.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the numbers of its calls, on every machine
_VERSION_ASKED = 1
_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _MAKE_FILE, _TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 8, 1 << 14
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR = 1 << 4, 1 << 5, 1 << 7
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""The rights over files that a version knows, by the first version that knows so many."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What stays open besides: programs that may be started, devices that may be written to, and in the folder, to make
    folders and to remove and rename what is in it.
    """

    programs: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    tidies: bool = False


NOTHING_ELSE = Grants()


def enclose(readable: Iterable[Path], writable: Path, grants: Grants = NOTHING_ELSE) -> None:
    """From now on this thread, and those that it starts, read below `readable` alone and make files in `writable`.

    Needs `no_new_privs`. Raises `OSError` where the kernel has no Landlock.
    """
    version = _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_ASKED))
    known = _KNOWN[max(first for first in _KNOWN if first <= version)]
    handled = struct.pack("=Q", known)
    rules = _call(_CREATE, handled, ctypes.c_size_t(len(handled)), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(rules, path, known & (_READ_FILE | _READ_DIR))
        for path in grants.programs:
            _allow(rules, path, known & (_READ_FILE | _EXECUTE))
        for path in grants.devices:
            _allow(rules, path, known & (_READ_FILE | _WRITE_FILE))
        tidying = _MAKE_DIR | _REMOVE_DIR | _REMOVE_FILE if grants.tidies else 0
        own = _READ_FILE | _READ_DIR | _WRITE_FILE | _MAKE_FILE | _TRUNCATE | tidying
        _allow(rules, writable, known & own)
        _call(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    """The rights over what lies below a folder, or over a file. What this process cannot reach anyway needs none."""
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(beneath).st_mode)
        rule = struct.pack("=Qi", rights if is_folder else rights & _OF_A_FILE, beneath)
        _call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(beneath)


def _call(number: int, *arguments: object) -> int:
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
