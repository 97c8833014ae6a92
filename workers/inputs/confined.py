"""The process that opens one input: `python -m workers.inputs.confined REQUEST`, started by `opening` and by no other.

Its standard input
is the password of a PDF, or an empty one. It binds itself before it loads a decoder, and says on its standard output
what `opening` is to know: one JSON object a line, and the text of a PDF in a file, whose length the system bounds.
Whatever it says is read as a stranger's word.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from core.courtesy import give_way
from core.errors import JobError
from core.job import JobKind
from workers.inputs.confinement import Bounds, Reach, confine

TOO_LARGE = 71
"""The exit status of a process that needed more memory or disk than its bounds."""
NO_ROOM = 72
"""And of one for whose result the disk had no room left."""

_MAX_TRACE = 4000


def main(request: dict[str, Any]) -> None:
    """Open what the request names, within its bounds."""
    for word in (signal.SIGTERM, signal.SIGINT):  # a worker that is stopped finishes its chunk; its end is ours
        signal.signal(word, signal.SIG_IGN)
    password = json.load(sys.stdin)
    path, result = Path(request["path"]), Path(request["result"])
    give_way(0)  # as its worker does, of which it has the niceness, but not the session
    _say(refused=confine(Bounds(**request["bounds"]), Reach(path, result.parent)))
    try:
        _open(JobKind(request["kind"]), path, result, request, password)
    except JobError as error:
        _say(error=error.code, message=error.message)
    except MemoryError:
        os._exit(TOO_LARGE)
    except OSError as error:
        if error.errno in (errno.EFBIG, errno.ENOMEM):
            os._exit(TOO_LARGE)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            os._exit(NO_ROOM)
        _say(fault=traceback.format_exc()[-_MAX_TRACE:])
    except Exception:
        _say(fault=traceback.format_exc()[-_MAX_TRACE:])


def _open(kind: JobKind, path: Path, result: Path, request: dict[str, Any], password: str) -> None:
    most = request["most"]
    if kind is JobKind.TRANSCRIPTION:
        from core import details
        from workers.inputs.audio import decode

        sound = decode(path, result, max_s=most, on_progress=_progress)
        _say(done=True, damaged=sound.damaged, details=details.to_stored(sound.details))
        return
    from workers.inputs.pdf import PdfAsked, read_pages

    read_pages(path, result, max_pages=int(most), on_page=_progress, asked=PdfAsked(password, request["scans"]))
    _say(done=True)


def _progress(*_: float) -> None:
    _say(progress=True)


def _say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
