"""Bounds the processor time that one step of reading a PDF may take, where Python does the reading.

`pdf` gives pypdf a budget a page and one for the file; what takes longer is left to PDFium, which is many times as
quick. The clock is that of this process, so that a busy machine takes no page away from pypdf.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class OverBudget(BaseException):
    """The step took longer than it may. No `Exception`: a parser that catches those would go on with the next part."""


@contextmanager
def budget(cpu_s: float) -> Iterator[None]:
    """Raises `OverBudget` in the block once it has used so many seconds. Bounds nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if cpu_s <= 0:
        raise OverBudget
    within = True

    def strike(_number: int, _frame: FrameType | None) -> None:
        if within:
            raise OverBudget

    before = signal.signal(signal.SIGVTALRM, strike)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
    try:
        yield
    finally:
        within = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
