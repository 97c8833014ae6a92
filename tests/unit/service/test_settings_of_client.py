"""A command finds a local service by its folder, and gives that service's key to no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer import Exit

from service.cli.settings_of_client import DEFAULT_URL, connect
from service.client import Client

LOCAL = "http://127.0.0.1:9000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `scribelane up` leaves in its folder."""
    (tmp_path / "url").write_text(LOCAL + "\n")
    (tmp_path / "api-key").write_text("sl_local\n")
    return tmp_path


def goes_to(client: Client) -> tuple[str, str]:
    with client:
        return str(client._http.base_url).rstrip("/"), client._http.headers["Authorization"].removeprefix("Bearer ")


@pytest.mark.parametrize("url", [None, "", LOCAL, f"{LOCAL}/"])
def test_the_local_key_goes_to_the_local_service(folder: Path, url: str | None) -> None:
    assert goes_to(connect(url, None, folder)) == (LOCAL, "sl_local")


@pytest.mark.parametrize("url", ["https://elsewhere.test", "http://127.0.0.1:9001", f"{LOCAL}.elsewhere.test"])
def test_the_local_key_goes_to_no_other_address(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as stopped:
        connect(url, None, folder)

    assert stopped.value.exit_code == 2
    assert "--key" in capsys.readouterr().err


def test_a_given_key_goes_to_the_given_address(folder: Path) -> None:
    assert goes_to(connect("https://elsewhere.test", "sl_mine", folder)) == ("https://elsewhere.test", "sl_mine")


def test_a_given_key_without_an_address_goes_to_the_local_service(folder: Path) -> None:
    assert goes_to(connect(None, "sl_mine", folder)) == (LOCAL, "sl_mine")


def test_without_an_address_anywhere_it_is_the_usual_one(tmp_path: Path) -> None:
    assert goes_to(connect(None, "sl_mine", tmp_path)) == (DEFAULT_URL, "sl_mine")


def test_a_key_file_that_cannot_be_read_is_told_as_such(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "api-key").unlink()
    (folder / "api-key").mkdir()

    with pytest.raises(Exit) as stopped:
        connect(None, None, folder)

    assert stopped.value.exit_code == 1
    assert "api-key cannot be read" in capsys.readouterr().err
