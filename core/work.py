"""What a chunk asks of its worker, besides the blob or the rows that it works on.

A stage plans the work of the next one; the store keeps it with the chunk, and the next stage reads it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from core.job import JobKind, Stage
from core.plan import AudioChunk, Clip, Region


@dataclass(frozen=True, slots=True)
class PassageBatch:
    """Embed so many passages of a document, stored under the chunk's ordinal."""

    n_passages: int


@dataclass(frozen=True, slots=True)
class TranscriptSpan:
    """Cut and embed what the transcribe chunks from the first to the last ordinal have heard."""

    chunk_from: int
    chunk_to: int


@dataclass(frozen=True, slots=True)
class PassageRange:
    """Embed the passages of all jobs whose ids lie from the first to the last and that lack the model's vector."""

    first_id: int
    last_id: int


Work = AudioChunk | PassageBatch | TranscriptSpan | PassageRange | None
"""None: the whole input or the whole job, as in `prepare` and `assemble`."""


def to_stored(work: Work) -> dict[str, Any]:
    """The work as JSON."""
    if isinstance(work, AudioChunk):
        clips = [_stored_clip(clip, work.max_pause_s) for clip in work.clips]
        return {"clips": clips, "attempt": work.attempt, "max_pause_s": work.max_pause_s}
    return {} if work is None else asdict(work)


def _stored_clip(clip: Clip, max_pause_s: float) -> dict[str, Any]:
    """With the length of its audio besides its regions: `core.store.estimates` adds them up."""
    regions = [[region.start_s, region.end_s] for region in clip.regions]
    return {"audio_s": clip.audio_s(max_pause_s), "regions": regions}


def from_stored(stage: Stage, kind: JobKind, stored: Mapping[str, Any]) -> Work:
    """The work again; the stage and the kind of job say which sort it is."""
    match stage, kind:
        case Stage.TRANSCRIBE, _:
            clips = tuple(_clip(clip) for clip in stored["clips"])
            return AudioChunk(clips, stored.get("attempt", 0), stored.get("max_pause_s", math.inf))
        case Stage.EMBED, JobKind.DOCUMENT:
            return PassageBatch(stored["n_passages"])
        case Stage.EMBED, JobKind.TRANSCRIPTION:
            return TranscriptSpan(stored["chunk_from"], stored["chunk_to"])
        case Stage.EMBED, JobKind.REINDEX:
            return PassageRange(stored["first_id"], stored["last_id"])
        case ((Stage.PREPARE | Stage.ASSEMBLE), _):
            return None
    raise ValueError(f"no work is known for the stage {stage} of a {kind}")


def _clip(stored: Mapping[str, Any]) -> Clip:
    """A clip again; one that was stored by a release that kept no regions, and no pause short, is taken for one."""
    regions = stored.get("regions") or [[stored["start_s"], stored["end_s"]]]
    return Clip(tuple(Region(start_s, end_s) for start_s, end_s in regions))
