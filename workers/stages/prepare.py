"""Have what the client sent, or its URL leads to, opened and cut into the chunks of the next stage. On the io lanes.

A recording: decode → find speech → pack clips → cut chunks → store each chunk's levelled audio and queue it. Each of
these steps takes what the one before it has given so far, so the first chunk is transcribed while most of the recording
is still to be decoded. A PDF: read page by page → cut passages → group them.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from core import ownership, plan
from core.details import MediaDetails
from core.errors import Internal, PdfNoText
from core.job import JobKind, JobWarning
from core.options import DocumentOptions
from core.passages import Passage, from_pages
from core.plan import AudioChunk
from core.store import blobs as blob_store
from core.store import planning, speeds
from core.store.chunks import Claim
from core.store.results import Prepared
from core.work import PassageBatch
from workers import heap
from workers.inputs import ocr, opening
from workers.inputs.languages import language_of
from workers.lease import Lease
from workers.stages import reindex
from workers.stages.context import Context
from workers.stages.fetch import Brought, bring

if TYPE_CHECKING:  # Beat imports the tasks too, in an image without the libraries that open inputs
    import numpy as np
    from numpy.typing import NDArray

    from workers.inputs.audio import Sound
    from workers.inputs.pdf_pages import PdfText

log = structlog.get_logger(__name__)

_AHEAD_METERED = 1
"""Chunks that are transcribed before the length is known, where it counts: a recording that turns out longer than what
is left, or than its tier accepts, gives back what it held, and would otherwise be transcribed in part for nothing."""

PASSAGES_PER_CHUNK = 128
"""At most. One CPU core embeds so many of full length in 2 to 6 s, with half precision and without, within the
10 s that a chunk should take; what a chunk costs beside its inference (25 ms, `benchmarks.scaling`) stays about a
hundredth of that. On a GPU it is more, but there a whole book takes seconds."""


def prepare(context: Context, claim: Claim, lease: Lease) -> Prepared:
    """Bring the input to a folder of its own and prepare it by its kind; a reindex has no input."""
    if claim.kind is JobKind.REINDEX:
        return reindex.plan(context, claim, lease)
    try:
        with tempfile.TemporaryDirectory(dir=context.scratch) as scratch:
            brought = bring(context, claim, lease, Path(scratch))
            with _time_of_its_own(brought):
                if claim.kind is JobKind.DOCUMENT:
                    return _document(context, claim, lease, brought.path)
                return _recording(context, claim, lease, brought)
    finally:
        heap.give_back()


@contextmanager
def _time_of_its_own(brought: Brought) -> Iterator[None]:
    """Within the block an input is opened: out of time because it was fetched first, it gets another attempt, which
    does not fetch it. A `timeout` would be final."""
    try:
        yield
    except SoftTimeLimitExceeded as error:
        if not brought.was_fetched:
            raise
        log.warning("fetching left too little time to open the input; it is opened in an attempt of its own")
        raise Internal("Fetching the input left too little time to open it; try again.") from error


def _recording(context: Context, claim: Claim, lease: Lease, brought: Brought) -> Prepared:
    """Queue chunk after chunk. An attempt that follows another goes on where that one was interrupted."""
    with context.database.transaction() as connection:
        n_chunks, from_s = planning.emitted(connection, claim.job_id)
    tier, held_back = context.tiers.plan(claim.tier), []
    at_once = _AHEAD_METERED if tier.monthly_audio_s is not None else math.inf
    path, limits = brought.path, context.limits.open
    decoded = path.with_name("decoded")
    with opening.decoding(path, decoded, max_s=tier.media_max_s, limits=limits, on_progress=lease.progress) as sound:
        for ordinal, chunk in enumerate(_chunks(context, claim, lease, sound, from_s), n_chunks):
            _store(context, claim, ordinal, chunk, sound)
            lease.progress()
            if ordinal < at_once:
                _emit(context, claim, chunk)
            else:
                held_back.append(chunk)
            n_chunks += 1
        duration_s = sound.await_until(math.inf)
    ownership.check(context.database, context.blobs)  # or they may lie where the store's volume is to be mounted
    warnings = [_NO_SPEECH] if not n_chunks else []
    if sound.damaged:
        warnings.append(_DAMAGED)
    # What YouTube says of a video is more than its file does.
    own = sound.details if brought.details == MediaDetails() else None
    return Prepared(held_back, duration_s=duration_s, warnings=warnings, details=own)


def _chunks(context: Context, claim: Claim, lease: Lease, sound: Sound, from_s: float) -> Iterator[AudioChunk]:
    """What `sound` holds after `from_s`, each chunk as soon as the sound is there."""
    from models import vad
    from workers.inputs import audio

    def find_speech(samples: NDArray[np.float32]) -> list[vad.Region]:
        lease.progress()
        return vad.find_speech(samples)

    regions = audio.speech_regions(sound, find_speech, from_s=from_s)
    chunks = plan.plan_chunks(plan.pack_clips(regions), _chunk_audio_s(context, claim))
    return (replace(chunk, attempt=claim.attempt) for chunk in chunks)


def _store(context: Context, claim: Claim, ordinal: int, chunk: AudioChunk, sound: Sound) -> None:
    """Store the chunk's audio."""
    from workers.inputs import audio

    samples = audio.render_chunk(sound, chunk)
    context.blobs.put(blob_store.chunk_key(claim.job_id, ordinal, claim.attempt), samples.tobytes())


def _emit(context: Context, claim: Claim, chunk: AudioChunk) -> None:
    """Let a stored chunk be transcribed, while the rest is cut."""
    ownership.check(context.database, context.blobs)
    with context.database.transaction() as connection:
        planning.emit(connection, claim, chunk, context.tiers)
    context.bell.ring()


def _chunk_audio_s(context: Context, claim: Claim) -> float:
    """How much speech a chunk of this job holds: what the slowest of its devices transcribes in about the target."""
    with context.database.transaction() as connection:
        speed = speeds.slowest(connection, claim.options.model, claim.lane)
    if speed is None:
        return context.limits.chunk_audio_s
    return plan.chunk_audio_s(speed, context.limits.chunk_target_s)


def _document(context: Context, claim: Claim, lease: Lease, path: Path) -> Prepared:
    assert isinstance(claim.options, DocumentOptions)
    limits, secret = context.limits, claim.options.password
    began = time.monotonic()
    text = opening.read_pages(
        path,
        max_pages=limits.pdf_max_pages,
        limits=limits.open,
        on_page=lease.progress,
        password=secret.get_secret_value() if secret else "",
        scans=limits.ocr.max_pages if claim.options.ocr == "auto" and ocr.program() else 0,
    )
    text, by_ocr = ocr.recognized(text, path.with_name("pages"), limits.ocr, lease.progress, began=began)
    if not text.pages:
        raise PdfNoText
    ruler = context.weights.passage_ruler(context.embedding_model(claim))

    def count(piece: str) -> int:
        lease.progress()
        return ruler.count(piece)

    passages = from_pages(text.pages, count, ruler.max_tokens, outline=text.details.outline)
    groups = _even(passages, PASSAGES_PER_CHUNK)
    return Prepared(
        work=[PassageBatch(len(group)) for group in groups],
        pages=text.n_pages,
        texts=groups,
        warnings=list(_page_warnings(text, by_ocr)),
        details=text.details,
        language=language_of(page.text for page in text.pages),
    )


def _even(passages: Sequence[Passage], most: int) -> list[Sequence[Passage]]:
    """As few groups of at most `most` as there can be, in order and of about one size: the last is no remnant that
    one worker does while the others have nothing left to do."""
    n_groups = math.ceil(len(passages) / most)
    borders = [len(passages) * n // n_groups for n in range(n_groups + 1)] if n_groups else []
    return [passages[begin:end] for begin, end in pairwise(borders)]


def _page_warnings(text: PdfText, by_ocr: int) -> Iterator[JobWarning]:
    if text.failed_pages:
        numbers = ", ".join(str(number) for number in text.failed_pages[:20])
        yield JobWarning("pages_unreadable", f"Pages that could not be read: {numbers}.")
    if by_ocr:
        yield JobWarning("pages_by_ocr", f"{by_ocr} of {text.n_pages} pages were read by OCR, which may err.")
    blank = text.empty_pages - len(text.failed_pages)
    if blank:
        message = f"{blank} of {text.n_pages} pages hold no text, perhaps only images."
        yield JobWarning("pages_without_text", message)


_NO_SPEECH = JobWarning("no_speech", "No speech was found in the recording.")
_DAMAGED = JobWarning("media_damaged", "Parts of the file could not be decoded; the rest was transcribed.")
