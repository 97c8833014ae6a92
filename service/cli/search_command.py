"""The command that searches all that one has. `client_commands` has the others."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from service.answers import Hit
from service.cli.calling import connected
from service.cli.settings_of_client import DEFAULT_DATA_DIR, DataDir, Key, Url

_AFTER = "Only jobs that were submitted then or later, such as 2026-11-26 or 2026-11-26T09:00Z."
_BEFORE = "Only jobs that were submitted earlier."


class Mode(StrEnum):
    """By what a search finds."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


class Kind(StrEnum):
    """Which sort of job."""

    TRANSCRIPTION = "transcription"
    DOCUMENT = "document"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(rich_help_panel="Use a service")(search)


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, max=100)] = 5,
    mode: Annotated[Mode, typer.Option(help="By meaning, by words, or by both.")] = Mode.HYBRID,
    kind: Annotated[Kind | None, typer.Option(help="Only recordings, or only documents.")] = None,
    job: Annotated[list[UUID] | None, typer.Option(metavar="ID", help="Only in this job; repeat it.")] = None,
    after: Annotated[str | None, typer.Option(metavar="TIME", help=_AFTER)] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help=_BEFORE)] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only jobs with it; repeat it.")
    ] = None,
    rerank: Annotated[
        bool | None, typer.Option("--rerank/--no-rerank", help="By a cross-encoder; default: if there is one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Find passages by meaning and by words, with the page or the time where they stand."""
    wanted = {
        "kind": kind,
        "job_ids": [str(one) for one in job] if job else None,
        "created_after": _time(after, "--after"),
        "created_before": _time(before, "--before"),
        "metadata": _pairs(metadata),
        "rerank": rerank,
    }
    with connected(url, key, data_dir) as client:
        found = client.found(query, limit=limit, mode=mode, **wanted)
    for warning in found.warnings:
        typer.echo(warning["message"], err=True)
    reranked = any("rerank" in hit.scores for hit in found.hits)
    for hit in found.hits:
        if as_json:
            typer.echo(json.dumps({name: getattr(hit, name) for name in Hit.__slots__}, ensure_ascii=False))
        else:
            typer.echo(f"{_score(hit, reranked)}  {hit.name}, {citation(hit)}\n      {_highlighted(hit)}\n")
    if not found.hits:
        typer.echo("Nothing found.", err=True)


def _score(hit: Hit, reranked: bool) -> str:
    """By what the hits are in order; none for one that was not read again among others that were."""
    score = hit.scores.get("rerank") if reranked else hit.score
    return "   –" if score is None else f"{score:.2f}"


def _time(given: str | None, option: str) -> str | None:
    """A time as the service takes it; one without a zone is of the clock of this machine."""
    if given is None:
        return None
    try:
        read = datetime.fromisoformat(given)
        return (read if read.tzinfo else read.astimezone()).isoformat()
    except (ValueError, OverflowError) as error:  # also the first and the last days of the calendar
        message = f"{given!r} is no time such as 2026-11-26 or 2026-11-26T09:00Z"
        raise typer.BadParameter(message, param_hint=option) from error


def _pairs(given: list[str] | None) -> dict[str, str] | None:
    """`NAME=VALUE` as metadata."""
    if not given:
        return None
    if wrong := [one for one in given if "=" not in one]:
        raise typer.BadParameter(f"{wrong[0]!r} is not of the form NAME=VALUE", param_hint="--metadata")
    return dict(one.split("=", 1) for one in given)


def _highlighted(hit: Hit) -> str:
    """The text, with the query's words in bold; `typer.echo` leaves that out where it does not write to a terminal."""
    text, at = "", 0
    for start, end in hit.highlights:
        text += hit.text[at:start] + typer.style(hit.text[start:end], bold=True)
        at = end
    return text + hit.text[at:]


def citation(hit: Hit) -> str:
    """Where to look: `p. 3`, `pp. iii–iv`, `00:41–00:52`, and a link if there is one."""
    where = hit.citation
    place = where["label"] if "page_from" in where else f"{_clock(where['start_s'])}–{_clock(where['end_s'])}"
    return f"{place}  {where['url']}" if "url" in where else str(place)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
