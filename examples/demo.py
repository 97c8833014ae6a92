"""`make demo`: the whole service on this machine, used once from end to end with the samples beside this script.

It runs the very commands that a person would type. Nothing is left behind: the service's folder is temporary.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.embedded import free_port

HERE = Path(__file__).parent
RECORDING = HERE / "tides.ogg"
DOCUMENT = HERE / "tides.pdf"
QUESTION = "Why does the tide come later every day?"

SCRIBELANE = str(Path(sys.executable).with_name("scribelane"))


def main() -> None:
    """Start, transcribe, embed, search, stop; any failure ends the demo with its message."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="scribelane-demo-") as folder, service(Path(folder)):
        scribelane("transcribe", str(RECORDING))
        scribelane("embed", str(DOCUMENT))
        found = scribelane("search", QUESTION, "--limit", "3")
        print("stopping …", flush=True)
    missing = [path.name for path in (RECORDING, DOCUMENT) if path.name not in found]
    if missing:
        sys.exit(f"the search did not find {' and '.join(missing)}")
    print(f"demo done in {time.monotonic() - started:.0f} s")


@contextmanager
def service(folder: Path) -> Iterator[None]:
    """`scribelane up` on a temporary folder and a free port, stopped as Ctrl-C would."""
    port = free_port()
    print(f"$ scribelane up --port {port}", flush=True)
    command = [SCRIBELANE, "up", "--port", str(port), "--data-dir", str(folder)]
    quiet = {**os.environ, "SCRIBELANE_LOG_LEVEL": "WARNING"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=quiet, start_new_session=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready:
            show_logs(folder)
            sys.exit("the service did not start")
        print(ready, flush=True)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        os.environ["SCRIBELANE_DATA_DIR"] = str(folder)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def scribelane(*arguments: str) -> str:
    """Run one client command; progress goes to the terminal or the log, the result is printed and returned."""
    print("$ scribelane", " ".join(f"'{word}'" if " " in word else shorter(word) for word in arguments), flush=True)
    result = subprocess.run([SCRIBELANE, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    print(result.stdout, flush=True)
    if result.returncode != 0:
        show_logs(Path(os.environ["SCRIBELANE_DATA_DIR"]))
        sys.exit(result.returncode)
    return result.stdout


def shorter(word: str) -> str:
    """A path as seen from here."""
    return os.path.relpath(word) if os.path.isabs(word) else word


def show_logs(folder: Path) -> None:
    """What the service said last, for whoever has to find out why."""
    for path in sorted((folder / "logs").glob("*.log")):
        print(f"--- {path.name}", *path.read_text(errors="replace").splitlines()[-15:], sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
