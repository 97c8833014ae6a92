"""Where a client command finds its service and its key: an option, the environment, or a local `scribelane up`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from service.client import Client

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_DATA_DIR = Path(".scribelane")
KEY_FILE = "api-key"
URL_FILE = "url"

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="SCRIBELANE_URL", help="Where the service is.", show_default=False),
]
Key = Annotated[
    str | None,
    typer.Option("--key", envvar="SCRIBELANE_API_KEY", help="Your API key.", show_default=False),
]
DataDir = Annotated[
    Path,
    typer.Option("--data-dir", envvar="SCRIBELANE_DATA_DIR", help="The folder of `scribelane up`."),
]


def remember(url: str | None, key: str | None) -> None:
    """Let options that stand before the command's name count for the command."""
    if url:
        os.environ["SCRIBELANE_URL"] = url
    if key:
        os.environ["SCRIBELANE_API_KEY"] = key


def connect(url: str | None, key: str | None, data_dir: Path) -> Client:
    """A client. What is not given is read from the files that `scribelane up` leaves in its folder."""
    local_url = "" if url and key else _read(data_dir / URL_FILE)
    # The key is an operator's: it goes to the service that made it and to no other address.
    if not key and (not url or url.rstrip("/") == local_url):
        key = _read(data_dir / KEY_FILE)
    if not key:
        typer.echo(_no_key(url, data_dir), err=True)
        raise typer.Exit(2)
    return Client(url or local_url or DEFAULT_URL, key)


def _no_key(url: str | None, data_dir: Path) -> str:
    if url:
        return f"No API key for {url}: give --key or set SCRIBELANE_API_KEY."
    return f"No API key: give --key, set SCRIBELANE_API_KEY, or run where `scribelane up` keeps {data_dir}."


def _read(path: Path) -> str:
    """The content of a file, empty if there is none; one that may not be read is told as such."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        typer.echo(f"error: {path} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(1) from error
