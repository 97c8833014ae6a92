"""`scribelane report`: what the service did on a day, as Beat wrote it down in the night after.

The server's libraries are imported when a command runs, so that a client needs none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.server_commands import PANEL, clear_errors, use_local_service
from service.cli.settings_of_client import DEFAULT_DATA_DIR, DataDir

if TYPE_CHECKING:
    from core.store.daily import DailyReport

Day = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day, in UTC; the last one if none is given.")
]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(rich_help_panel=PANEL)(report)


def report(day: Day = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Print the report of a day: jobs, audio hours, failures by code, and the wait in each lane."""
    with clear_errors():
        from core.settings import settings
        from core.store import daily
        from core.store.session import Database

        use_local_service(data_dir)
        with Database(settings().database_url).transaction() as connection:
            found = daily.get(connection, day.date() if day else None)
        for name, figure in _lines(found):
            typer.echo(f"{name:<12} {figure}")


def _lines(found: DailyReport) -> Iterator[tuple[str, str]]:
    yield "day", f"{found.day} (UTC)"
    for name in ("submitted", "completed", "failed", "cancelled"):
        yield name, str(getattr(found, name))
    yield "audio hours", str(found.audio_hours)
    yield "pages", f"{found.pages:.0f}"
    yield "failures", _listed(found.failures)
    yield "wait p95 s", _listed(found.wait_p95_s)


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {figure}" for name, figure in sorted(figures.items())) or "none"
