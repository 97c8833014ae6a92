"""What a stage is given to work with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core.dispatch import Bell
from core.job import JobKind
from core.links import UrlHosts
from core.store.blobs import Blobs
from core.store.chunks import Claim
from core.store.session import Database
from core.tiers import Tiers
from models.pool import Pool
from workers.engines import Weights
from workers.inputs.ocr import OcrLimits
from workers.inputs.orders import FetchOptions
from workers.inputs.process import OpenLimits
from workers.loading import Reranker


@dataclass(frozen=True, slots=True)
class InputLimits:
    """What an input may be whatever the tier, what opening it may take, and how it is cut.

    A chunk of a recording takes about `chunk_target_s` to transcribe where its speed was measured, and holds
    `chunk_audio_s` of speech where it was not.
    """

    pdf_max_pages: int
    chunk_target_s: float
    chunk_audio_s: float
    open: OpenLimits
    ocr: OcrLimits


@dataclass(frozen=True, slots=True)
class Context:
    """The worker's stores (rows, blobs, weights, loaded models), the bell to ring when there is new work, what the
    tiers allow, its defaults, and a folder for files in work.

    `device` is this worker's own, with its host. `default_whisper` is for transcriptions that name no model;
    `query_model` embeds searches, and all jobs that ask for no other; `reranker`, where there is one, reads
    what they found once more. `fetching`: how inputs are fetched whose URL was submitted.
    """

    database: Database
    bell: Bell
    blobs: Blobs
    weights: Weights
    pool: Pool
    tiers: Tiers
    limits: InputLimits
    device: str
    default_whisper: str
    query_model: str
    scratch: Path
    reranker: Reranker | None = None
    fetching: FetchOptions = field(default_factory=lambda: FetchOptions(UrlHosts()))

    def whisper_model(self, claim: Claim) -> str:
        """The model that this transcription runs on."""
        return claim.options.model or self.default_whisper

    def embedding_model(self, claim: Claim) -> str:
        """The model that this job's passages are embedded with. A fake transcript gets fake vectors."""
        asked = claim.options.model
        if claim.kind is JobKind.DOCUMENT:
            return asked or self.query_model
        return "fake" if asked == "fake" else self.query_model
