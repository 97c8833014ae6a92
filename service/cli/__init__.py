"""`scribelane`: the servers, their upkeep, and a client for people and scripts.

The client commands need httpx, Rich and Typer only. Server commands import their libraries when they run.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from service.cli import settings_of_client
from service.cli.account_commands import register as add_account_commands
from service.cli.backup_commands import register as add_backup_commands
from service.cli.client_commands import register as add_client_commands
from service.cli.export_commands import register as add_export_commands
from service.cli.report_commands import register as add_report_commands
from service.cli.search_command import register as add_search_command
from service.cli.server_commands import register as add_server_commands

app = typer.Typer(
    name="scribelane",
    help="Recordings and PDFs in; text that can be read and searched out. On your own machines.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scribelane {version('scribelane')}")
        raise typer.Exit


@app.callback()
def _root(
    url: settings_of_client.Url = None,
    key: settings_of_client.Key = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    settings_of_client.remember(url, key)


add_client_commands(app)
add_search_command(app)
add_server_commands(app)
add_account_commands(app)
add_backup_commands(app)
add_report_commands(app)
add_export_commands(app)


def main() -> None:
    """The entry point of the `scribelane` command."""
    app()
