"""Accepting a job: its options checked, its row and first chunk written, the dispatcher rung."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from core.errors import Forbidden, InvalidRequest, UnknownModel
from core.job import JobKind
from core.lanes import Lane, Tier
from core.store import jobs
from core.store.accounts import Account
from core.store.jobs import JobInput, NewJob
from core.tiers import Plan
from models.registry import ModelKind, find, names
from service.deps import Service
from service.formats import job_out
from service.schemas import DocumentForm, JobOut, TranscriptionForm
from service.upload import Upload

Form = TypeVar("Form", bound=BaseModel)


def parse(fields: Mapping[str, str], wanted: type[Form]) -> Form:
    """The fields of a form, checked; an empty field counts as left out. Raises a 422 that names the field."""
    try:
        return wanted.model_validate({name: value for name, value in fields.items() if value != ""})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def check_model(name: str | None, kind: ModelKind) -> None:
    """Raises `UnknownModel` with the names that would do."""
    if name is not None and name not in names(kind):
        raise UnknownModel(f"There is no {kind} model named {name!r}; there are {', '.join(names(kind))}.")


def check_language(language: str | None, model: str | None) -> None:
    """Raises `InvalidRequest` for a language that Whisper, or the model asked for, does not know."""
    if language is None:
        return
    known = frozenset().union(*(find(name, ModelKind.WHISPER).languages for name in names(ModelKind.WHISPER)))
    if language not in known:
        raise InvalidRequest(f"language: Whisper knows no language {language!r}; use a code such as en, de or zh.")
    if model is not None and language not in find(model, ModelKind.WHISPER).languages:
        raise InvalidRequest(f"language: the model {model} does not know {language!r}; name another model.")


def check_task(task: str, model: str | None) -> None:
    """Raises `InvalidRequest` for a translation by a model that cannot."""
    if task == "translate" and model is not None and not find(model, ModelKind.WHISPER).translates:
        raise InvalidRequest(f"task: the model {model} does not translate; base does.")


def lane_for(tier: Tier, plan: Plan, asked: Lane | None) -> Lane:
    """The lane asked for, or the plan's own. Raises `Forbidden` for a more urgent one."""
    lane = asked or plan.lane
    if not plan.may_use(lane):
        raise Forbidden(f"The tier {tier} does not include the lane {lane}; ask for {plan.lane} or a less urgent one.")
    return lane


def accept(
    service: Service,
    account: Account,
    upload: Upload,
    kind: JobKind,
    form: TranscriptionForm | DocumentForm,
) -> jobs.Job:
    """Write the job and ring the dispatcher; from here on the job will not be lost."""
    plan = service.tiers.plan(account.tier)
    new = NewJob(
        id=upload.job_id,
        account_id=account.id,
        kind=kind,
        lane=lane_for(account.tier, plan, form.lane),
        tier=account.tier,
        input=JobInput("upload", upload.name, bytes=upload.bytes),
        options=form.options(),
        metadata=form.metadata,
        retention_days=plan.retention_days,
        concurrent_jobs=plan.concurrent_jobs,
    )
    with service.database.transaction() as connection:
        jobs.insert(connection, new)
        job = jobs.get(connection, new.id)
        upload.offer()  # last before the commit, whose answer may be lost although it went through
    service.bell.ring()
    return job


def accepted(job: jobs.Job, request: Request, response: Response) -> JobOut:
    """The 202 answer: the job, and where to ask about it."""
    answer = job_out(job, str(request.base_url))
    response.headers["Location"] = answer.status_url
    return answer


def form_body(form: type[BaseModel], what: str) -> dict[str, Any]:
    """The OpenAPI description of an upload form; the body itself is read by `service.upload`."""
    schema = form.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    file = {"type": "string", "format": "binary", "description": what}
    properties = {"file": file, **_inline(schema["properties"], definitions)}
    body = {"type": "object", "required": ["file"], "properties": properties, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}}}


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with its references replaced: a hand-written request body has no component section."""
    if isinstance(node, dict):
        if "$ref" in node:
            return _inline(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
        return {key: _inline(value, definitions) for key, value in node.items()}
    return [_inline(item, definitions) for item in node] if isinstance(node, list) else node
