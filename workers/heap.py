"""Gives back to the system what a stage took for one input and does not need any more.

glibc keeps freed memory for the next allocation. Opening recordings of many lengths left an io process with twice what
it uses, and a little more with each thousand chunks (`benchmarks/soak.py`).
"""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return free memory to the system, where the C library can (glibc). Takes milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
