"""`make demo`: the whole service on this machine, used once from end to end with the samples beside this script.

It runs the very commands that a person would type. Nothing is left behind: the service's folder is temporary.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from service.launch import SCRIBELANE, LocalService, NotReady, running

HERE = Path(__file__).parent
RECORDING = HERE / "tides.ogg"
DOCUMENT = HERE / "tides.pdf"
QUESTION = "Why does the tide come later every day?"


def main() -> None:
    """Start, transcribe, embed, search, stop; any failure ends the demo with its message."""
    started = time.monotonic()
    print("$ scribelane up", flush=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="scribelane-demo-") as folder,
            running(Path(folder), {"SCRIBELANE_LOG_LEVEL": "WARNING"}) as service,
        ):
            print(f"ready {service.url}\n", flush=True)
            run(service, "transcribe", str(RECORDING))
            run(service, "embed", str(DOCUMENT))
            found = run(service, "search", QUESTION, "--limit", "3")
            print("stopping …", flush=True)
    except NotReady as error:
        sys.exit(f"the service did not start\n{error}")
    missing = [path.name for path in (RECORDING, DOCUMENT) if path.name not in found]
    if missing:
        sys.exit(f"the search did not find {' and '.join(missing)}")
    print(f"demo done in {time.monotonic() - started:.0f} s")


def run(service: LocalService, *arguments: str) -> str:
    """Run one client command; progress goes to the terminal or the log, the result is printed and returned."""
    print("$ scribelane", " ".join(as_typed(word) for word in arguments), flush=True)
    environment = {**os.environ, "SCRIBELANE_DATA_DIR": str(service.folder)}
    result = subprocess.run([SCRIBELANE, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    print(result.stdout, flush=True)
    if result.returncode != 0:
        sys.exit(f"that failed\n{service.log_tail()}")
    return result.stdout


def as_typed(word: str) -> str:
    """A word as a person would type it: a path from here, a sentence in quotes."""
    if os.path.isabs(word):
        return os.path.relpath(word)
    return f'"{word}"' if " " in word else word


if __name__ == "__main__":
    main()
