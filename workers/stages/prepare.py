"""Open what the client sent and cut it into the chunks of the next stage. Runs on the io lanes.

A recording: decode → find speech → pack clips → cut chunks → store each chunk's levelled audio.
A PDF: read page by page → cut passages → group them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core import plan
from core.job import JobKind
from core.passages import Passage, from_pages
from core.store import blobs as blob_store
from core.store.chunks import Claim
from core.store.completion import embed_chunks_for
from core.store.results import Prepared
from workers.engines import passage_ruler
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
    with tempfile.TemporaryDirectory(dir=context.scratch) as scratch:
        path = Path(scratch) / "input"
        context.blobs.download(blob_store.input_key(claim.job_id), path)
        lease.progress()
        if claim.kind is JobKind.DOCUMENT:
            return _document(context, claim, lease, path)
        return _recording(context, claim, lease, path)


def _recording(context: Context, claim: Claim, lease: Lease, path: Path) -> Prepared:
    from models import vad
    from workers.inputs import audio

    def find_speech(samples: NDArray[np.float32]) -> list[vad.Region]:
        lease.progress()
        return vad.find_speech(samples)

    limit_s = context.settings.media_max_s
    decoded = audio.decode(path, path.with_name("decoded"), max_s=limit_s, on_progress=lease.progress)
    regions = audio.speech_regions(decoded, find_speech)
    chunks = plan.plan_chunks(plan.pack_clips(regions), context.settings.chunk_audio_s)
    for chunk in chunks:
        samples = audio.render_chunk(decoded, chunk, regions)
        lease.progress()
        context.blobs.put(blob_store.chunk_key(claim.job_id, chunk.ordinal), samples.tobytes())
    warnings = [_NO_SPEECH] if not chunks else []
    if decoded.damaged:
        warnings.append(_DAMAGED)
    return Prepared(
        work=[_audio_work(chunk) for chunk in chunks],
        duration_s=decoded.duration_s,
        later_chunks=embed_chunks_for(len(chunks)) if claim.options.get("index", True) else 0,
        warnings=warnings,
    )


def _audio_work(chunk: plan.AudioChunk) -> dict[str, object]:
    """Times on the media clock, in seconds."""
    return {"start_s": chunk.start_s, "end_s": chunk.end_s, "clips": [[c.start_s, c.end_s] for c in chunk.clips]}


def _document(context: Context, claim: Claim, lease: Lease, path: Path) -> Prepared:
    from workers.inputs import pdf

    text = pdf.read_pages(path, max_pages=context.settings.pdf_max_pages, on_page=lease.progress)
    ruler = passage_ruler(context.settings, context.embedding_model(claim))
    passages = from_pages(text.pages, ruler.count, ruler.max_tokens)
    groups: Sequence[Sequence[Passage]] = [
        passages[first : first + PASSAGES_PER_CHUNK] for first in range(0, len(passages), PASSAGES_PER_CHUNK)
    ]
    return Prepared(
        work=[{"passages": len(group)} for group in groups],
        pages=text.n_pages,
        texts=groups,
        warnings=list(_page_warnings(text)),
    )


def _page_warnings(text: PdfText) -> Iterator[dict[str, str]]:
    if text.failed_pages:
        numbers = ", ".join(str(number) for number in text.failed_pages[:20])
        yield {"code": "pages_unreadable", "message": f"Pages that could not be read: {numbers}."}
    blank = text.empty_pages - len(text.failed_pages)
    if blank:
        message = f"{blank} of {text.n_pages} pages hold no text, perhaps only images."
        yield {"code": "pages_without_text", "message": message}


_NO_SPEECH = {"code": "no_speech", "message": "No speech was found in the recording."}
_DAMAGED = {"code": "media_damaged", "message": "Parts of the file could not be decoded; the rest was transcribed."}
