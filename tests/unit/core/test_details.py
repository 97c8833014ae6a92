"""What an input says of itself comes back from the store as it went in."""

from __future__ import annotations

import json

import pytest

from core.details import Chapter, Details, DocumentDetails, Heading, MediaDetails, from_stored, to_stored
from core.job import JobKind

KINDS = [
    (JobKind.TRANSCRIPTION, MediaDetails("Tides", "Coast", "dQw4w9WgXcQ", None, (Chapter("Ebb", 0.0, 61.5),))),
    (JobKind.DOCUMENT, DocumentDetails("Tides", ("i", "ii", "1"), (Heading("Ebb", 3, 0),))),
]


@pytest.mark.parametrize(("kind", "details"), KINDS)
def test_details_survive_being_stored_as_json(kind: JobKind, details: Details) -> None:
    assert from_stored(kind, json.loads(json.dumps(to_stored(details)))) == details


@pytest.mark.parametrize(
    ("kind", "nothing"), [(JobKind.TRANSCRIPTION, MediaDetails()), (JobKind.DOCUMENT, DocumentDetails())]
)
def test_a_job_that_is_older_than_its_details_has_none(kind: JobKind, nothing: Details) -> None:
    assert from_stored(kind, {}) == nothing
