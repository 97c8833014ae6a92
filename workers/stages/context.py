"""What a stage is given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.job import JobKind
from core.settings import Settings
from core.store.blobs import Blobs
from core.store.chunks import Claim
from core.store.session import Database
from models.pool import Pool
from models.registry import DEFAULT_EMBEDDING, default_whisper


@dataclass(frozen=True, slots=True)
class Context:
    """The worker's plain values, its three stores (rows, blobs, loaded models) and a folder for files in work."""

    settings: Settings
    database: Database
    blobs: Blobs
    pool: Pool
    scratch: Path

    def whisper_model(self, claim: Claim) -> str:
        """The model that this transcription runs on: the client's choice, the operator's, the device's."""
        return claim.options.get("model") or self.settings.whisper_model or default_whisper(self.settings.device)

    def embedding_model(self, claim: Claim) -> str:
        """The model that this job's passages are embedded with. A fake transcript gets fake vectors."""
        asked: str = claim.options.get("model") or ""
        if claim.kind is JobKind.DOCUMENT:
            return asked or self.query_model
        return "fake" if asked == "fake" else self.query_model

    @property
    def query_model(self) -> str:
        """The embedding model of searches, and of all jobs that ask for no other."""
        return self.settings.embedding_model or DEFAULT_EMBEDDING
