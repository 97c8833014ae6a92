"""Have what the client sent opened, and cut it into the chunks of the next stage. Runs on the io lanes.

A recording: decode → find speech → pack clips → cut chunks → store each chunk's levelled audio.
A PDF: read page by page → cut passages → group them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core import ownership, plan
from core.job import JobKind, JobWarning
from core.options import TranscriptionOptions
from core.passages import Passage, from_pages
from core.store import blobs as blob_store
from core.store import speeds
from core.store.chunks import Claim
from core.store.completion import embed_chunks_for
from core.store.results import Prepared
from core.work import PassageBatch
from workers import heap
from workers.inputs import opening
from workers.lease import Lease
from workers.stages.context import Context

if TYPE_CHECKING:  # Beat imports the tasks too, in an image without the libraries that open inputs
    import numpy as np
    from numpy.typing import NDArray

    from workers.inputs.pdf import PdfText

PASSAGES_PER_CHUNK = 64
"""A few seconds of embedding on two CPU cores: short enough to share, long enough to batch."""


def prepare(context: Context, claim: Claim, lease: Lease) -> Prepared:
    """Bring the input to a folder of its own and prepare it by its kind."""
    try:
        with tempfile.TemporaryDirectory(dir=context.scratch) as scratch:
            path = Path(scratch) / "input"
            context.blobs.download(blob_store.input_key(claim.job_id), path)
            lease.progress()
            if claim.kind is JobKind.DOCUMENT:
                return _document(context, claim, lease, path)
            return _recording(context, claim, lease, path)
    finally:
        heap.give_back()


def _recording(context: Context, claim: Claim, lease: Lease, path: Path) -> Prepared:
    from models import vad
    from workers.inputs import audio

    def find_speech(samples: NDArray[np.float32]) -> list[vad.Region]:
        lease.progress()
        return vad.find_speech(samples)

    asked = claim.options
    assert isinstance(asked, TranscriptionOptions)
    limit_s = context.tiers.plan(claim.tier).media_max_s
    decoded = opening.decode(
        path, path.with_name("decoded"), max_s=limit_s, limits=context.limits.open, on_progress=lease.progress
    )
    regions = audio.speech_regions(decoded, find_speech)
    chunks = plan.plan_chunks(plan.pack_clips(regions), _chunk_audio_s(context, claim))
    for ordinal, chunk in enumerate(chunks):
        samples = audio.render_chunk(decoded, chunk)
        lease.progress()
        context.blobs.put(blob_store.chunk_key(claim.job_id, ordinal), samples.tobytes())
    ownership.check(context.database, context.blobs)  # or they may lie where the store's volume is to be mounted
    warnings = [_NO_SPEECH] if not chunks else []
    if decoded.damaged:
        warnings.append(_DAMAGED)
    return Prepared(
        work=chunks,
        duration_s=decoded.duration_s,
        later_chunks=embed_chunks_for(len(chunks)) if asked.index else 0,
        warnings=warnings,
    )


def _chunk_audio_s(context: Context, claim: Claim) -> float:
    """How much speech a chunk of this job holds: what the slowest of its devices transcribes in about the target."""
    with context.database.transaction() as connection:
        speed = speeds.slowest(connection, claim.options.model, claim.lane)
    if speed is None:
        return context.limits.chunk_audio_s
    return plan.chunk_audio_s(speed, context.limits.chunk_target_s)


def _document(context: Context, claim: Claim, lease: Lease, path: Path) -> Prepared:
    limits = context.limits
    text = opening.read_pages(path, max_pages=limits.pdf_max_pages, limits=limits.open, on_page=lease.progress)
    ruler = context.weights.passage_ruler(context.embedding_model(claim))

    def count(piece: str) -> int:
        lease.progress()
        return ruler.count(piece)

    passages = from_pages(text.pages, count, ruler.max_tokens)
    groups: Sequence[Sequence[Passage]] = [
        passages[first : first + PASSAGES_PER_CHUNK] for first in range(0, len(passages), PASSAGES_PER_CHUNK)
    ]
    return Prepared(
        work=[PassageBatch(len(group)) for group in groups],
        pages=text.n_pages,
        texts=groups,
        warnings=list(_page_warnings(text)),
    )


def _page_warnings(text: PdfText) -> Iterator[JobWarning]:
    if text.failed_pages:
        numbers = ", ".join(str(number) for number in text.failed_pages[:20])
        yield JobWarning("pages_unreadable", f"Pages that could not be read: {numbers}.")
    blank = text.empty_pages - len(text.failed_pages)
    if blank:
        message = f"{blank} of {text.n_pages} pages hold no text, perhaps only images."
        yield JobWarning("pages_without_text", message)


_NO_SPEECH = JobWarning("no_speech", "No speech was found in the recording.")
_DAMAGED = JobWarning("media_damaged", "Parts of the file could not be decoded; the rest was transcribed.")
