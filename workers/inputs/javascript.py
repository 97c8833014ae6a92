"""The JavaScript runtime that yt-dlp solves YouTube's challenges with: Deno, which comes as a wheel.

`youtube` hands it to yt-dlp; `workers.doctor` asks whether it runs. Without one YouTube still answers, but refuses most
formats, and at times all of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "deno"

ADDRESS_SPACE_BYTES = 64 * 1024**3
"""What a process that starts the runtime must leave it of address space (`RLIMIT_AS`). V8 reserves about 36 GiB in one
piece, without using them: Deno 2.9 ends at once with 36 GiB and runs with 40."""
DATA_BYTES = 2 * 1024**3
"""And of memory of its own (`RLIMIT_DATA`), by which it can be bounded: it ends at once with 512 MiB, 1 GiB will do."""


def runtime() -> Path | None:
    """Where the wheel `deno` keeps its program, or else one of the system's; None where there is neither."""
    try:
        from deno import find_deno_bin

        return Path(find_deno_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which(NAME)
        return Path(found) if found else None


def version() -> str | None:
    """The version of the runtime as yt-dlp reads it; None where there is none that runs and is new enough."""
    from yt_dlp.globals import supported_js_runtimes

    path = runtime()
    if path is None:
        return None
    info = supported_js_runtimes.value[NAME](path=str(path)).info
    return str(info.version) if info is not None and info.supported else None


@contextmanager
def caching_in(folder: Path) -> Iterator[None]:
    """Deno keeps its cache in this folder, and not in the home of whoever runs it; it is removed afterwards.

    yt-dlp starts Deno with this process's environment and takes no other: the process is its own to change.
    """
    before = {name: os.environ.get(name) for name in ("DENO_DIR", "DENO_NO_UPDATE_CHECK")}
    cache = folder / ".deno"
    os.environ.update(DENO_DIR=str(cache), DENO_NO_UPDATE_CHECK="1")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(cache, ignore_errors=True)
