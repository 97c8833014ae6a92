"""The process that reads one image of a page: `python -m workers.inputs.recognizing REQUEST`, started by `ocr` alone.

It binds itself as `confined` does, but for one thing, which is to become Tesseract; what binds it holds for that too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from workers.inputs.confinement import Bounds, Reach, confine


def main(request: dict[str, Any]) -> None:
    """Become Tesseract, which writes the words beside the image, in a file that ends in `.txt`."""
    scan, program = Path(request["scan"]), request["program"]
    confine(Bounds(**request["bounds"]), Reach(scan, scan.parent, Path(program)))
    os.execv(program, [program, str(scan), str(scan.with_suffix("")), "-l", request["languages"]])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
