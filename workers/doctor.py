"""`scribelane doctor`: what this machine has, what is missing, and what to do about it.

Loads no model and downloads none.

Run as `python -m workers.doctor`, because it looks at the workers' own libraries; exits with 1 if something
that this configuration needs is missing.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import math
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
from obstore.exceptions import BaseError as BlobError
from sqlalchemy.exc import SQLAlchemyError

from core import tiers
from core.errors import Misconfigured, ScribelaneError
from core.settings import Settings, settings, unknown_variables
from core.store import migrations
from core.store.blobs import Blobs
from core.store.session import Database
from models import devices
from models.errors import ComputeTypeUnsupported, DeviceFailed, ModelError, WeightsMissing
from models.registry import DEFAULT_EMBEDDING, UNPINNED, ModelKind, default_whisper, find, reranker
from models.whisper import batch_limits
from workers.engines import Weights, budget_bytes
from workers.inputs import ocr

_GIB = 1024**3
_CUBLAS = "libcublas.so.12"
"""What CTranslate2 4.8 loads by this name, whatever CUDA torch brings along."""
_OF_YOUTUBE = ("yt-dlp", "yt-dlp-ejs")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `advice` is empty where all is well."""

    what: str
    state: str
    advice: str = ""


def main() -> int:
    """Print every finding; 1 if one needs attention."""
    findings = [finding for check in _CHECKS for finding in check(settings())]
    for finding in findings:
        print(f"{'!!' if finding.advice else 'ok'}  {finding.what}: {finding.state}")
        if finding.advice:
            print(f"      {finding.advice}")
    return 1 if any(finding.advice for finding in findings) else 0


def _versions(_: Settings) -> Iterator[Finding]:
    yield Finding("python", platform.python_version())
    for package in ("celery", "faster-whisper", "ctranslate2", "torch", "sentence-transformers", "pypdf", *_OF_YOUTUBE):
        try:
            yield Finding(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(package, "not installed", "Install scribelane[worker].")


def _youtube(own: Settings) -> Iterator[Finding]:
    """What YouTube needs besides yt-dlp: a runtime for its scripts, and the cookies that are to be there."""
    if importlib.util.find_spec("yt_dlp") is None:
        return
    from workers.inputs import javascript

    version = javascript.version()
    advice = "" if version else "YouTube refuses most downloads without one: install scribelane[worker], or Deno."
    yield Finding("JavaScript runtime", f"Deno {version}" if version else "none that yt-dlp can use", advice)
    if own.youtube_cookies_file is not None:
        yield _cookies(own.youtube_cookies_file)


def _cookies(file: Path) -> Finding:
    from workers.inputs import cookies

    what, advice = "cookies for YouTube", f"Export them anew, and check {cookies.SETTING} and who may read its file."
    try:
        found = cookies.read(file)
    except cookies.CookiesUnreadable as error:
        return Finding(what, f"cannot be read: {error}", advice)
    return Finding(
        what, f"{found.n_of_youtube} for YouTube that have not expired", "" if found.n_of_youtube else advice
    )


def _ocr(own: Settings) -> Iterator[Finding]:
    """No fault where it is missing: PDFs of images are then refused, or read in part."""
    found = ocr.program()
    yield Finding("OCR", f"{found}, for {own.ocr_languages}" if found else "not installed; needs tesseract-ocr")


def _models(own: Settings) -> Iterator[Finding]:
    here = Weights(own.models_dir, own.cache_dir, download=False)
    device = "cuda:0" if _n_gpus() else own.device
    wanted = [
        (own.whisper_model or default_whisper(device), ModelKind.WHISPER),
        (own.embedding_model or DEFAULT_EMBEDDING, ModelKind.EMBEDDING),
    ]
    if own.rerank_model:
        wanted.append((own.rerank_model, ModelKind.RERANKER))
    for name, kind in wanted:
        try:
            spec = reranker(name) if kind is ModelKind.RERANKER else find(name, kind)
            state = "verified" if UNPINNED not in spec.files.values() else "not pinned"
            yield Finding(f"weights of {name}", f"{state}, in {here.locate(spec)}")
        except ModelError as error:
            to_come = own.hub_download and isinstance(error, WeightsMissing)
            state = "not here; the first job would download them" if to_come else "not usable"
            yield Finding(f"weights of {name}", state, str(error))


def _variables(_: Settings) -> Iterator[Finding]:
    unknown = unknown_variables()
    yield Finding("variables", f"{len(unknown)} of no setting" if unknown else "all known", " ".join(unknown))


def _tiers(own: Settings) -> Iterator[Finding]:
    try:
        tiers.load(own.tiers_file)
        yield Finding("tiers", f"from {own.tiers_file}" if own.tiers_file else "the defaults")
    except Misconfigured as error:
        yield Finding("tiers", "not usable", error.message)


def _devices(own: Settings) -> Iterator[Finding]:
    n_gpus = _n_gpus()
    if n_gpus is None:
        return
    yield Finding("GPUs that CTranslate2 sees", str(n_gpus))
    if n_gpus:
        yield from _cuda()
    for device in [f"cuda:{index}" for index in range(n_gpus)] or ["cpu"]:
        yield from _device(own, device)


def _device(own: Settings, device: str) -> Iterator[Finding]:
    """What a worker on this device would use: numbers, batches, and how much for models that stay loaded."""
    try:
        has = ", ".join(sorted(devices.compute_types(device)))
        chosen = devices.compute_type(device, own.compute_type)
        memory = devices.memory(device)
    except DeviceFailed as error:
        yield Finding(device, "does not answer", f"Check the driver. {error}")
        return
    except ComputeTypeUnsupported as error:
        yield Finding(device, f"computes in {has}", f"Unset SCRIBELANE_COMPUTE_TYPE, or choose another. {error}")
        return
    first, most = batch_limits(memory)
    batches = str(first) if first == most else f"{first}, up to {most} while that pays and fits"
    budget = budget_bytes(device, own.model_budget_bytes)
    kept = "no limit for loaded models" if math.isinf(budget) else f"{budget / _GIB:.1f} GiB for loaded models"
    yield Finding(device, f"computes in {has}; chosen: {chosen}; clips at once: {batches}; {kept}")


def _n_gpus() -> int | None:
    """How many GPUs there are for a worker; None if that cannot be asked."""
    try:
        import ctranslate2
    except ImportError:
        return None
    n_gpus: int = ctranslate2.get_cuda_device_count()
    return n_gpus


def _cuda() -> Iterator[Finding]:
    """Both CUDA runtimes that a GPU worker needs: CTranslate2's and torch's."""
    try:
        ctypes.CDLL(_CUBLAS)
        yield Finding(_CUBLAS, "found")
    except OSError:
        yield Finding(_CUBLAS, "not found", "CTranslate2 needs cuBLAS of CUDA 12: pip install nvidia-cublas-cu12")
    import torch

    usable = torch.cuda.is_available()
    advice = "" if usable else "Embedding would run on the CPU: install a CUDA build of torch, and check the driver."
    yield Finding("torch's CUDA", f"{torch.version.cuda}, {'usable' if usable else 'not usable'}", advice)


def _database(own: Settings) -> Iterator[Finding]:
    try:
        database = Database(own.database_url)
        current, newest = migrations.current(database), migrations.newest()
    except (SQLAlchemyError, ScribelaneError) as error:
        yield Finding("database", "does not answer", f"Check SCRIBELANE_DATABASE_URL. {str(error).splitlines()[0]}")
        return
    yield Finding("database", f"revision {current}", "" if current == newest else "Run `scribelane migrate`.")


def _broker(own: Settings) -> Iterator[Finding]:
    try:
        with redis.Redis.from_url(own.broker_url, socket_connect_timeout=3) as client:
            policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except (redis.RedisError, ValueError, OSError) as error:
        yield Finding("broker", "does not answer", f"Check SCRIBELANE_BROKER_URL. {error}")
        return
    advice = "" if policy == "noeviction" else "Set maxmemory-policy noeviction: another policy may drop queues."
    yield Finding("broker", f"answers, maxmemory-policy {policy}", advice)


def _blobs(own: Settings) -> Iterator[Finding]:
    try:
        Blobs(own.blob_url).check()
        yield Finding("media store", "can be written")
    except (BlobError, OSError, ScribelaneError) as error:
        yield Finding("media store", "cannot be written", f"Check SCRIBELANE_BLOB_URL. {error}")


_CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _versions,
    _youtube,
    _ocr,
    _models,
    _variables,
    _tiers,
    _devices,
    _database,
    _broker,
    _blobs,
)

if __name__ == "__main__":
    sys.exit(main())
