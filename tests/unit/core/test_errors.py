"""The error tree is the one that its docstring draws, and every error can be shown to a person."""

from __future__ import annotations

import inspect
import re
from collections import Counter

import pytest

from core import errors
from core.errors import JobError, RequestError, ScribelaneError

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ScribelaneError)]
LINE = re.compile(r"^    (?P<branches>[│ ]*(?:├── |└── )?)(?P<name>[A-Z]\w+)(?: +(?P<says>.+))?$")
BASES = {ScribelaneError, RequestError, JobError}


def drawn() -> dict[str, tuple[str | None, str]]:
    """Of each class in the drawing: its parent, and what stands beside it."""
    found: dict[str, tuple[str | None, str]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        depth = len(match["branches"]) // 4
        path = [*path[:depth], match["name"]]
        found[match["name"]] = (path[depth - 1] if depth else None, match["says"] or "")
    return found


def test_the_drawing_shows_every_class_below_its_parent() -> None:
    assert {name: parent for name, (parent, _) in drawn().items()} == {
        kind.__name__: kind.__base__.__name__ if kind is not ScribelaneError and kind.__base__ else None
        for kind in CLASSES
    }


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind.__subclasses__() == [] or kind not in BASES])
def test_the_drawing_shows_the_code_of_every_error_that_a_client_meets(kind: type[ScribelaneError]) -> None:
    says = drawn()[kind.__name__][1]

    if issubclass(kind, (RequestError, JobError)):
        assert says == kind.code


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_says_in_its_docstring_what_is_wrong(kind: type[ScribelaneError]) -> None:
    assert "__doc__" in vars(kind)
    assert (kind.__doc__ or "").strip()


@pytest.mark.parametrize("base", [RequestError, JobError])
def test_no_two_errors_of_a_sort_share_a_code(base: type[ScribelaneError]) -> None:
    """A refused request and a failed job may: a quota is exceeded at the door, or when the length is known."""
    own = [kind for kind in CLASSES if issubclass(kind, base) and "code" in vars(kind) and kind not in BASES]
    codes = Counter(kind.code for kind in own)

    assert len(own) > 5
    assert [code for code, n in codes.items() if n > 1] == []


def test_codes_are_lower_case_words() -> None:
    assert [kind.code for kind in CLASSES if not re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)] == []


def test_an_error_without_a_message_says_the_first_line_of_its_docstring() -> None:
    assert str(errors.EmptyUpload()) == "The uploaded file is empty."


def test_an_error_with_a_message_says_that() -> None:
    assert errors.NotFound("No job 7.").message == "No job 7."


def test_only_errors_that_may_pass_by_themselves_are_retryable() -> None:
    later = {"Unavailable", "SearchUnavailable", "RateLimited", "IdempotencyInFlight"}
    of_jobs = {"Internal", "DownloadFailed", "OutOfMemory", "DeviceBroken", "StoreUnavailable"}

    assert {kind.__name__ for kind in CLASSES if kind.retryable} == later | of_jobs
