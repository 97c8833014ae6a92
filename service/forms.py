"""What the API takes: the fields of upload forms, and the JSON of a search. `service.schemas` is what it answers."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from core.job import JobKind
from core.lanes import Lane
from core.options import DocumentOptions, Text, TranscriptionOptions, storable
from core.search import SearchMode

_METADATA_BYTES = 16 * 1024


def _parsed_json(value: Any) -> Any:
    """A form carries what is no text as JSON."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError("this is not JSON") from error
    return value


Metadata = Annotated[dict[str, Any], BeforeValidator(_parsed_json)]


class _Described(BaseModel):
    metadata: Metadata = Field(default_factory=dict, description="Anything of yours; a JSON object.")

    @field_validator("metadata")
    @classmethod
    def _small(cls, value: dict[str, Any]) -> dict[str, Any]:
        storable(value)  # first: it says how deep the value is
        if len(json.dumps(value)) > _METADATA_BYTES:
            raise ValueError(f"metadata may take {_METADATA_BYTES} bytes")
        return value


class Transcription(_Described, TranscriptionOptions):
    """A recording to be transcribed."""

    def options(self) -> TranscriptionOptions:
        """What is kept with the job."""
        return TranscriptionOptions(**self.model_dump(include=set(TranscriptionOptions.model_fields)))


class Document(_Described, DocumentOptions):
    """A PDF to be embedded."""

    def options(self) -> DocumentOptions:
        """What is kept with the job."""
        password = self.password and self.password.get_secret_value()
        return DocumentOptions(**self.model_dump(include=set(DocumentOptions.model_fields)), password=password)


class _InLane(BaseModel):
    lane: Lane | None = Field(None, description="A less urgent lane than the account's own.")


class _Single(_InLane):
    force: bool = Field(False, description="Do the work even if an identical job of the account has completed.")


class TranscriptionForm(_Single, Transcription):
    """The form of `POST /v1/transcriptions`."""


class DocumentForm(_Single, Document):
    """The form of `POST /v1/documents`."""


class _OfBatch(BaseModel):
    file: Text = Field(max_length=1000, description="The name of a file of the form.")


class BatchTranscription(_OfBatch, Transcription):
    """An item of a batch: a recording to be transcribed."""

    kind: Literal[JobKind.TRANSCRIPTION]


class BatchDocument(_OfBatch, Document):
    """An item of a batch: a PDF to be embedded."""

    kind: Literal[JobKind.DOCUMENT]


BatchItem = BatchTranscription | BatchDocument

MAX_ITEMS = 100
"""Of a batch."""
MAX_KEYS = 30
"""Of an item: more than there are options."""


class BatchForm(_InLane):
    """The form of `POST /v1/batches` besides its files. Items are checked one by one, so that none refuses another."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[
        list[dict[str, Any]],
        # The first fault ends it: a form has room for a million of them.
        Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True, description="A JSON array; one object a file."),
        BeforeValidator(_parsed_json),
    ]


class ReindexIn(BaseModel):
    """All passages embedded anew."""

    model_config = ConfigDict(extra="forbid")

    model: Text = Field(min_length=1, max_length=100, description="An embedding model.")
    lane: Lane = Field(Lane.BATCH, description="`batch` holds nobody up.")


class SearchIn(BaseModel):
    """A search over one's own transcripts and documents together."""

    model_config = ConfigDict(extra="forbid")

    query: Text = Field(
        min_length=1,
        max_length=2000,
        description='A question, or words; `"so"` must stand there, `-word` must not.',
    )
    mode: SearchMode = Field(SearchMode.HYBRID, description="By meaning, by words, or by both.")
    limit: int = Field(10, ge=1, le=100)
    kind: Literal[JobKind.TRANSCRIPTION, JobKind.DOCUMENT] | None = None
    job_ids: Annotated[list[UUID], Field(max_length=1000, fail_fast=True)] | None = None
    created_after: AwareDatetime | None = Field(None, description="Of jobs that were submitted then or later.")
    created_before: AwareDatetime | None = Field(None, description="Of jobs that were submitted earlier.")
    metadata: Annotated[dict[str, Any], BeforeValidator(storable)] | None = Field(
        None, description="Of jobs whose metadata holds all of this."
    )
    rerank: bool | None = Field(
        None, description="Whether a cross-encoder reads the best hits once more; null: if the service has one."
    )

    @field_validator("query")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the query is empty")
        return value
