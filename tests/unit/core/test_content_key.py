"""The key of a submit is the same for the same work, and for nothing else."""

from __future__ import annotations

from core.content_key import ContentKey, DefaultModels, content_key, of_upload, of_youtube
from core.job import JobKind
from core.options import DocumentOptions, JobOptions, TranscriptionOptions

DEFAULTS = DefaultModels("base", "all-MiniLM-L6-v2")
FILE = of_upload(bytes(32))
TALK = TranscriptionOptions()


def key(options: JobOptions = TALK, source: bytes = FILE, defaults: DefaultModels = DEFAULTS) -> ContentKey:
    kind = JobKind.DOCUMENT if isinstance(options, DocumentOptions) else JobKind.TRANSCRIPTION
    return content_key(kind, source, options, defaults)


def test_the_same_work_has_the_same_key_of_32_bytes() -> None:
    assert key() == key(TranscriptionOptions())
    assert len(key().digest) == 32


def test_a_default_that_is_named_is_the_same_as_one_that_is_not() -> None:
    assert key(TranscriptionOptions(model="base")) == key()
    assert key(DocumentOptions(model="all-MiniLM-L6-v2")) == key(DocumentOptions())


def test_content_kind_options_and_models_each_make_another_key() -> None:
    keys = {
        key(),
        key(source=of_upload(bytes(31) + b"1")),
        key(source=of_youtube("dQw4w9WgXcQ")),
        key(DocumentOptions()),
        key(DocumentOptions(model="bge-m3")),
        key(TranscriptionOptions(word_timestamps=True)),
        key(TranscriptionOptions(index=False)),
        key(TranscriptionOptions(prompt="x")),
        key(TranscriptionOptions(hotwords="x")),
        key(defaults=DefaultModels("large-v3-turbo", DEFAULTS.embedding)),
        key(defaults=DefaultModels(DEFAULTS.whisper, "bge-m3")),
    }

    assert len({one.digest for one in keys}) == 11


def test_what_is_not_embedded_does_not_depend_on_the_model_that_embeds() -> None:
    bare, other = TranscriptionOptions(index=False), DefaultModels(DEFAULTS.whisper, "bge-m3")

    assert key(bare) == key(bare, defaults=other)
    assert key(bare).embedding is None
