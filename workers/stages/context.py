"""What a stage is given to work with."""

from __future__ import annotations

from dataclasses import dataclass

from core.settings import Settings
from core.store.blobs import Blobs
from core.store.chunks import Claim
from core.store.session import Database
from models.pool import Pool
from models.registry import default_whisper


@dataclass(frozen=True, slots=True)
class Context:
    """The worker's plain values and its three stores: rows, blobs, loaded models."""

    settings: Settings
    database: Database
    blobs: Blobs
    pool: Pool

    def whisper_model(self, claim: Claim) -> str:
        """The model that this transcription runs on: the client's choice, the operator's, the device's."""
        return claim.options.get("model") or self.settings.whisper_model or default_whisper(self.settings.device)

    def embedding_model(self, claim: Claim) -> str:
        """The model that this job's passages are embedded with. A fake transcript gets fake vectors."""
        asked: str = claim.options.get("model") or ""
        if claim.kind == "document":
            return asked or self.settings.embedding_model
        return "fake" if asked == "fake" else self.settings.embedding_model
