"""Accepting a batch: each item becomes a job or is refused by itself, all in one transaction and with one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi import Response
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from uuid_utils.compat import uuid7

from core.errors import InvalidRequest, QuotaExceeded, RequestError
from core.job import JobKind
from core.lanes import Lane
from core.quota import Unit, unit_of
from core.store import batches, idempotency, jobs, usage
from core.store.batches import NewBatch, Refused
from core.store.idempotency import Answer, Earlier, Outcome
from core.store.jobs import NewJob
from service.formats import batch_out
from service.forms import MAX_KEYS, BatchDocument, BatchForm, BatchItem, BatchTranscription
from service.multipart import clean_name, printable, unescaped
from service.problems import explain
from service.submit import Submission, check, lane_for, parse, sent, sent_again
from service.upload import Received

_FORMS: Mapping[str, type[BatchItem]] = {JobKind.TRANSCRIPTION: BatchTranscription, JobKind.DOCUMENT: BatchDocument}


def accept(submission: Submission) -> Response:
    """Write the batch with its jobs and ring the dispatcher. The 202 answer, or the earlier one."""
    service, upload, account_id = submission.service, submission.upload, submission.account.id
    if isinstance(upload.once, Earlier):
        return sent_again(upload.once)
    form = parse(upload.fields, BatchForm)
    lane = lane_for(submission.account.tier, submission.plan, form.lane or Lane.BATCH)
    files = _by_name(upload.files, form.items)
    batch_id = uuid7()
    with service.database.transaction() as connection:
        items = _Items(connection, submission, files, lane, batch_id)
        for index, item in enumerate(form.items):
            items.take(index, item)
        retention_days = submission.plan.retention_days
        batches.insert(connection, NewBatch(batch_id, account_id, lane, len(form.items), items.refused, retention_days))
        if items.news:
            jobs.insert(connection, *items.news)
        shown = batch_out(batches.get(connection, batch_id, account_id), submission.base_url)
        answer = Answer(202, shown.status_url, shown.model_dump_json().encode())
        if upload.once is not None:
            idempotency.complete(connection, upload.once, Outcome(upload.fingerprint, answer, batch_id=batch_id))
        upload.offer(*(new.id for new in items.news))  # last before the commit, whose answer may be lost
    service.bell.ring()
    return sent(answer)


class _Items:
    """Sorts the items of a batch into jobs that are to be, and refusals."""

    def __init__(
        self, connection: Connection, submission: Submission, files: Mapping[str, Received], lane: Lane, batch_id: UUID
    ) -> None:
        self.news: list[NewJob] = []
        self.refused: list[Refused] = []
        self._connection = connection
        self._submission = submission
        self._files = dict(files)
        self._lane = lane
        self._batch_id = batch_id
        self._no_quota: dict[Unit, QuotaExceeded | None] = {}

    def take(self, index: int, item: Mapping[str, Any]) -> None:
        """Make a job of an item, or say why not."""
        name = _name_of(item)
        try:
            self.news.append(self._job(index, item, self._files.get(name)))
            del self._files[name]
        except RequestError as error:
            self.refused.append(Refused(index, name, error.code, printable(error.message)))

    def _job(self, index: int, item: Mapping[str, Any], file: Received | None) -> NewJob:
        asked = _asked(item)
        if file is None:
            raise InvalidRequest("file: the form holds no file of this name, or an item before named it.")
        if file.refusal is not None:
            raise file.refusal
        check(asked)
        new = self._submission.new_job(file, asked, self._lane, batch=(self._batch_id, index))
        self._check_left(unit_of(new.kind))
        return new

    def _check_left(self, unit: Unit) -> None:
        """Raises `QuotaExceeded`; looks once for all items."""
        if unit not in self._no_quota:
            try:
                tiers = self._submission.service.tiers
                usage.check_left(self._connection, self._submission.account.id, unit, tiers)
                self._no_quota[unit] = None
            except QuotaExceeded as error:
                self._no_quota[unit] = error
        if (refusal := self._no_quota[unit]) is not None:
            raise refusal


def _asked(item: Mapping[str, Any]) -> BatchItem:
    kind = item.get("kind")
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise InvalidRequest(f"kind: say {' or '.join(_FORMS)}.")
    if len(item) > MAX_KEYS:
        raise InvalidRequest(f"An item may have up to {MAX_KEYS} keys, and this one has {len(item)}.")
    try:
        return form.model_validate(item)
    except ValidationError as error:
        raise InvalidRequest(explain(error.errors())) from error


def _name_of(item: Mapping[str, Any]) -> str:
    """What an item calls its file, as far as that can be said of an item that nobody has checked.

    A name in which `%22` stands for itself reaches the form like one with a quote, so both are read alike.
    """
    name = item.get("file")
    try:
        return clean_name(unescaped(name)) if isinstance(name, str) else ""
    except InvalidRequest:
        return ""


def _by_name(files: Sequence[Received], items: Sequence[Mapping[str, Any]]) -> Mapping[str, Received]:
    """The files by their names. Raises `InvalidRequest` if one has no item. One that an item misspells is left out."""
    by_name = {file.name: file for file in files}
    if len(by_name) < len(files):
        raise InvalidRequest("Two files of the form have the same name; no item could tell them apart.")
    if len(files) > len(items):
        raise InvalidRequest("items: there are more files than items.")
    return by_name
