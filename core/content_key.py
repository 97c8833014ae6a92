"""What makes two submits the same work: the content, what is to be made of it, and the models that make it.

The door (`service.submit`) reckons the key of each submit before it inserts the job; `core.store.reuse` finds by it a
job that has completed already. The lane is no part of it, nor is the input's name: the same text comes of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from core.job import JobKind
from core.options import JobOptions, TranscriptionOptions

_SECRET = {"password"}
"""Options that open an input and change nothing of what comes out; no trace of them is kept."""


@dataclass(frozen=True, slots=True)
class DefaultModels:
    """The models of a job that names none. Where they change, the same request asks for another result."""

    whisper: str
    embedding: str


def of_upload(sha256: bytes) -> bytes:
    """The source of a key: an uploaded file by the SHA-256 of its content."""
    return b"upload:" + sha256


def of_youtube(video_id: str) -> bytes:
    """The source of a key: a video by its id, however its address was written."""
    return b"youtube:" + video_id.encode()


@dataclass(frozen=True, slots=True)
class ContentKey:
    """All that a result depends on, as 32 bytes, and the model of its vectors, None where it has none: those an
    operator may have dropped since."""

    digest: bytes
    embedding: str | None


def content_key(kind: JobKind, source: bytes, options: JobOptions, defaults: DefaultModels) -> ContentKey:
    """The digest is SHA-256. `source` is what `of_upload` or `of_youtube` says."""
    asked = options.model_dump(mode="json", exclude={"model", *_SECRET})
    whisper, embedding = _models(options, defaults)
    described = [kind, source.hex(), [model for model in (whisper, embedding) if model], sorted(asked.items())]
    return ContentKey(hashlib.sha256(json.dumps(described).encode()).digest(), embedding)


def _models(options: JobOptions, defaults: DefaultModels) -> tuple[str | None, str | None]:
    """The models that the job will run on: of Whisper, and of embedding."""
    if not isinstance(options, TranscriptionOptions):
        return None, options.model or defaults.embedding
    return options.model or defaults.whisper, defaults.embedding if options.index else None
