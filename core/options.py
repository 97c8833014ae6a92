"""What a client may ask of a job: checked at the door, kept with the job, acted on by the stages.

The one list of options. `service.forms` adds what belongs to the request alone (lane, metadata).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from core.job import JobKind

MAX_LEVELS = 50
"""Of lists and objects within each other. What is stored is answered again, and pydantic writes about 250 of them."""


def storable(value: Any) -> Any:
    """The value itself. Raises `ValueError` for what PostgreSQL's text and jsonb cannot hold, or no answer."""
    if _levels(value) > MAX_LEVELS:
        raise ValueError(f"it is nested deeper than {MAX_LEVELS} levels")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError as error:
        raise ValueError("it holds a number or a character that cannot be stored") from error
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("the character NUL cannot be stored")
    return value


def _levels(value: Any) -> int:
    """How deep lists and objects lie in each other, counted up to one more than `MAX_LEVELS`; not by recursion."""
    level, depth = [value], 0
    while depth <= MAX_LEVELS and (level := [one for one in level if isinstance(one, (dict, list))]):
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        depth += 1
    return depth


Text = Annotated[str, BeforeValidator(storable)]
"""Text that can be stored."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Text | None = Field(None, max_length=100, description="Which model; none: the service's default.")


class TranscriptionOptions(_Options):
    """How a recording is transcribed."""

    language: str | None = Field(None, max_length=10, description="Such as `en`; none: detect it.")
    task: Literal["transcribe", "translate"] = Field("transcribe", description="`translate` gives English text.")
    word_timestamps: bool = Field(False, description="Times for each word.")
    prompt: Text | None = Field(
        None,
        max_length=2000,
        description="Text that precedes; steers spelling and style. With `hotwords`, about 150 words are heeded.",
    )
    hotwords: Text | None = Field(None, max_length=2000, description="Words that are likely to occur.")
    index: bool = Field(True, description="Embed the transcript, so that search finds it.")


class DocumentOptions(_Options):
    """How a PDF is embedded."""

    ocr: Literal["auto", "off"] = Field("auto", description="`auto`: read images of pages, where the service can.")
    # Left out of whatever is written of the options; `to_stored` alone tells it.
    password: Annotated[SecretStr, BeforeValidator(storable)] | None = Field(
        None, exclude=True, max_length=500, description="Opens an encrypted PDF. Forgotten once the PDF was read."
    )


class ReindexOptions(_Options):
    """With which model all passages are embedded anew; it is always named."""


JobOptions = TranscriptionOptions | DocumentOptions | ReindexOptions

_OPTIONS: Mapping[JobKind, type[JobOptions]] = {
    JobKind.TRANSCRIPTION: TranscriptionOptions,
    JobKind.DOCUMENT: DocumentOptions,
    JobKind.REINDEX: ReindexOptions,
}

SECRET = "password"
"""The option that is stored only until it was used, and shown nowhere."""


def to_stored(options: JobOptions) -> dict[str, Any]:
    """The options as they are kept until the input was read, the secret one among them."""
    stored = options.model_dump()
    if isinstance(options, DocumentOptions) and options.password is not None:
        stored[SECRET] = options.password.get_secret_value()
    return stored


def options_of(kind: JobKind, stored: Mapping[str, Any]) -> JobOptions:
    """The options of a job as they were stored: checked when they came, so not again.

    What is stored may be older or newer than this code; an option that it does not know is passed over.
    """
    form = _OPTIONS[kind]
    known = {name: stored[name] for name in form.model_fields if name in stored}
    if SECRET in known:
        known[SECRET] = SecretStr(known[SECRET])
    return form.model_construct(**known)
