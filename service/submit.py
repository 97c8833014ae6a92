"""Accepting a job: its options checked, its row and first chunk written, the dispatcher rung."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from sqlalchemy.engine import Connection

from core.content_key import content_key, of_upload
from core.errors import Forbidden, IdempotencyMismatch, InvalidRequest, UnknownModel
from core.job import JobKind
from core.lanes import Lane, Tier
from core.quota import unit_of
from core.store import estimates, idempotency, jobs, usage
from core.store.accounts import Account
from core.store.estimates import UNKNOWN
from core.store.idempotency import Answer, Earlier, Outcome
from core.store.jobs import JobInput, NewJob
from core.tiers import Plan
from models.registry import ModelKind, find, names
from service.deps import AccountDep, Service, ServiceDep
from service.formats import job_out
from service.forms import MAX_ITEMS, Document, DocumentForm, Transcription, TranscriptionForm
from service.linked import Linked, linked
from service.reused import reused
from service.schemas import JobOut
from service.upload import Received, Upload, receiving

Form = TypeVar("Form", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to make jobs of an upload: who asks, what was received, and how the client calls this service."""

    service: Service
    account: Account
    upload: Upload
    base_url: str

    @property
    def plan(self) -> Plan:
        """What the account's tier includes."""
        return self.service.tiers.plan(self.account.tier)

    def new_job(
        self,
        of: Received | Linked,
        asked: Transcription | Document,
        lane: Lane,
        batch: tuple[UUID, int] | tuple[None, None] = (None, None),
    ) -> NewJob:
        """The job that a received file, or what a URL leads to, is to be; `batch`: its batch, and its place there."""
        kind, options = JobKind.DOCUMENT if isinstance(asked, Document) else JobKind.TRANSCRIPTION, asked.options()
        source = of_upload(of.sha256) if isinstance(of, Received) else of.source
        return NewJob(
            id=of.job_id,
            account_id=self.account.id,
            kind=kind,
            lane=lane,
            tier=self.account.tier,
            input=JobInput("upload", of.name, bytes=of.n_bytes) if isinstance(of, Received) else of.input,
            options=options,
            metadata=asked.metadata,
            retention_days=self.plan.retention_days,
            concurrent_jobs=self.plan.concurrent_jobs,
            batch_id=batch[0],
            batch_index=batch[1],
            content_key=content_key(kind, source, options, self.service.default_models) if source else None,
        )


Submit = Callable[[Request, Service, Account, Upload], Awaitable[Submission]]


def submitting(max_files: int) -> Submit:
    """The dependency that is a submission of one to `max_files` files."""
    received = Depends(receiving(max_files))

    async def submit(
        request: Request, service: ServiceDep, account: AccountDep, upload: Upload = received
    ) -> Submission:
        return Submission(service, account, upload, str(request.base_url))

    return submit


SubmissionDep = Annotated[Submission, Depends(submitting(1))]
"""One file and its options."""

BatchSubmissionDep = Annotated[Submission, Depends(submitting(MAX_ITEMS))]
"""Many files and their options; a file that cannot be a job's does not refuse the others."""


def parse(fields: Mapping[str, Any], wanted: type[Form]) -> Form:
    """The fields of a form, checked; an empty field counts as left out. Raises a 422 that names the field."""
    try:
        return wanted.model_validate({name: value for name, value in fields.items() if value != ""})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def check(asked: Transcription | Document) -> None:
    """Raises `UnknownModel` or `InvalidRequest` for a model that is not there, or that cannot do what is asked."""
    if isinstance(asked, Document):
        check_model(asked.model, ModelKind.EMBEDDING)
        return
    check_model(asked.model, ModelKind.WHISPER)
    _check_language(asked.language, asked.model)
    _check_task(asked.task, asked.model)


def check_model(name: str | None, kind: ModelKind) -> None:
    """Raises `UnknownModel` with the names that would do."""
    if name is not None and name not in names(kind):
        raise UnknownModel(f"There is no {kind} model named {name!r}; there are {', '.join(names(kind))}.")


def _check_language(language: str | None, model: str | None) -> None:
    """Raises `InvalidRequest` for a language that Whisper, or the model asked for, does not know."""
    if language is None:
        return
    known = frozenset().union(*(find(name, ModelKind.WHISPER).languages for name in names(ModelKind.WHISPER)))
    if language not in known:
        raise InvalidRequest(f"language: Whisper knows no language {language!r}; use a code such as en, de or zh.")
    if model is not None and language not in find(model, ModelKind.WHISPER).languages:
        raise InvalidRequest(f"language: the model {model} does not know {language!r}; name another model.")


def _check_task(task: str, model: str | None) -> None:
    """Raises `InvalidRequest` for a translation by a model that cannot."""
    if task == "translate" and model is not None and not find(model, ModelKind.WHISPER).translates:
        raise InvalidRequest(f"task: the model {model} does not translate; base does.")


def lane_for(tier: Tier, plan: Plan, asked: Lane | None) -> Lane:
    """The lane asked for, or the plan's own. Raises `Forbidden` for a more urgent one."""
    lane = asked or plan.lane
    if not plan.may_use(lane):
        raise Forbidden(f"The tier {tier} does not include the lane {lane}; ask for {plan.lane} or a less urgent one.")
    return lane


def accept(submission: Submission, asked: TranscriptionForm | DocumentForm) -> Response:
    """Write the job and ring the dispatcher; from here on the job will not be lost. The 202 answer, or the earlier one.

    The answer is kept with the job, in one transaction: whoever repeats the request gets that answer and no second job.
    If an identical job has completed it is the answer, with a 200, and nothing is written or charged.
    """
    service, upload = submission.service, submission.upload
    if isinstance(upload.once, Earlier):
        return sent_again(upload.once)
    check(asked)
    lane = lane_for(submission.account.tier, submission.plan, asked.lane)
    new = submission.new_job(_source(submission, asked), asked, lane)
    with service.database.transaction() as connection:
        shown = reused(connection, new, submission.base_url, force=asked.force)
        answer = _as_answer(shown or _inserted(connection, submission, new))
        if upload.once is not None:
            job_id = shown.id if shown else new.id
            idempotency.complete(connection, upload.once, Outcome(upload.fingerprint, answer, job_id=job_id))
        if shown is None:
            upload.offer(new.id)  # last before the commit, whose answer may be lost although it went through
    if shown is None:
        service.bell.ring()
    return sent(answer)


def _source(submission: Submission, asked: TranscriptionForm | DocumentForm) -> Received | Linked:
    """What the job is to be made of. Raises `UrlNotAllowed`."""
    upload = submission.upload
    if upload.url is None:
        return upload.files[0]
    kind = JobKind.DOCUMENT if isinstance(asked, DocumentForm) else JobKind.TRANSCRIPTION
    return linked(upload.url, kind, submission.service.url_hosts)


def _inserted(connection: Connection, submission: Submission, new: NewJob) -> JobOut:
    """The job, now accepted. Raises `QuotaExceeded`, `Unauthorized`."""
    usage.check_left(connection, new.account_id, unit_of(new.kind), submission.service.tiers)
    jobs.insert(connection, new)
    return _shown(connection, new.id, submission.base_url)


def _shown(connection: Connection, job_id: UUID, base_url: str) -> JobOut:
    job = jobs.get(connection, job_id)
    return job_out(job, estimates.of(connection, [job]).get(job_id, UNKNOWN), base_url)


def accepted(connection: Connection, job_id: UUID, base_url: str) -> Answer:
    """A job that was inserted, and where to ask about it."""
    return _as_answer(_shown(connection, job_id, base_url))


def _as_answer(shown: JobOut) -> Answer:
    """The job, and where to ask about it; as bytes, because they may be sent again tomorrow."""
    return Answer(200 if shown.reused_from else 202, shown.status_url, shown.model_dump_json().encode())


def sent(answer: Answer) -> Response:
    """The answer to a submit."""
    return Response(answer.body, answer.status, {"Location": answer.location}, media_type="application/json")


def sent_again(earlier: Earlier, asked: bytes | None = None) -> Response:
    """The answer to a submit that was repeated. Raises `IdempotencyMismatch` if another was `asked` then."""
    if asked is not None and earlier.fingerprint != asked:
        raise IdempotencyMismatch()
    response = sent(earlier.answer)
    response.headers["Idempotent-Replayed"] = "true"
    return response
