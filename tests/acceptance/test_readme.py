"""The README's commands are run, and its tables are held against the code: what it promises exists, and the reverse.

A fenced block marked `console` is run: after `$ ` stands a command, below it what the command prints on stdout, where
`…` stands for anything. All blocks run in one shell, from the project's folder, in their order.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import typer.main

from core import errors
from core.errors import JobError, SearchUnavailable
from core.search import RERANK_UNAVAILABLE
from core.settings import Settings
from models.registry import MODELS
from service.cli import app
from tests.acceptance.conftest import ROOT, Service

README = (ROOT / "README.md").read_text()
EXISTING, COMING = README.split("\n## Coming\n")

END_OF_COMMAND = "--- end of command:"


@dataclass(frozen=True)
class Example:
    """A command and what the README says that it prints."""

    command: str
    prints: str

    def matches(self, printed: str) -> bool:
        """Whether the output is the README's; blanks at line ends and around it count for nothing."""
        wanted = ".*".join(map(re.escape, _trimmed(self.prints).split("…")))
        return re.fullmatch(wanted, _trimmed(printed), re.DOTALL) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def _examples() -> Iterator[Example]:
    for block in re.findall(r"^```console\n(.*?)^```", README, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, prints = part.partition("\n")
            yield Example(command, prints)


EXAMPLES = list(_examples())


@pytest.fixture(scope="module")
def environment(service: Service) -> dict[str, str]:
    """What the README tells its reader to set, for an account of this test's own."""
    key = service.run("accounts", "create", "reader", "--tier", "pro", "--operator").stdout.strip()
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SCRIBELANE_URL": service.url,
        "SCRIBELANE_API_KEY": key,
        "SCRIBELANE_DATA_DIR": str(service.folder),
    }


@pytest.fixture(scope="module")
def shell(environment: dict[str, str]) -> list[tuple[int, str]]:
    """The exit status and the stdout of every example, all run in one shell."""
    script = "".join(f"{example.command}\nprintf '\\n{END_OF_COMMAND}%s\\n' $?\n" for example in EXAMPLES)
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    sys.stderr.write(done.stderr)
    ends = re.split(rf"\n{END_OF_COMMAND}(\d+)\n", done.stdout)
    return [(int(status), printed) for printed, status in zip(ends[::2], ends[1::2], strict=False)]


@pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("curl")), reason="the README's examples use curl in bash"
)
def test_every_example_prints_what_the_readme_says(shell: list[tuple[int, str]]) -> None:
    assert len(EXAMPLES) > 10
    assert [status for status, _ in shell] == [0] * len(EXAMPLES)
    for example, (_, printed) in zip(EXAMPLES, shell, strict=True):
        assert example.matches(printed), f"$ {example.command}\n{printed}"


def test_the_calls_of_the_readme_are_the_calls_of_the_api(service: Service) -> None:
    paths = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    named = set(re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w/{}]*)", EXISTING))
    assert {_without_names(call) for call in named} == {_without_names(call) for call in served}


def _without_names(call: tuple[str, str]) -> tuple[str, str]:
    method, path = call
    return method, re.sub(r"\{\w+\}", "{}", path)


def test_the_settings_of_the_readme_are_the_settings() -> None:
    table = dict(re.findall(r"^\| `SCRIBELANE_(\w+)` \| (\S+) \|", README, re.MULTILINE))
    assert table == {name.upper(): _shown(field.default) for name, field in Settings.model_fields.items()}


def _shown(default: object) -> str:
    match default:
        case None | "":
            return "–"
        case bool():
            return f"`{str(default).lower()}`"
        case float():
            return f"`{default:.15g}`"
        case Path():
            return f"`~/{default.relative_to(Path.home())}`"
        case _:
            return f"`{default}`"


def test_the_commands_of_the_readme_are_the_commands() -> None:
    root = typer.main.get_command(app)
    commands = set(getattr(root, "commands", {}))
    assert set(re.findall(r"^\| `scribelane (\w+)", README, re.MULTILINE)) == commands
    assert set(re.findall(r"(?:`|^|\$ )scribelane (\w+)", README, re.MULTILINE)) <= commands


def test_the_codes_of_the_readme_are_the_codes_of_failed_jobs() -> None:
    sentence = re.search(r"in `error\.code`: (.*?)\.\n", README, re.DOTALL)
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[1])) == {kind.code for kind in JobError.__subclasses__()}


def test_the_warnings_of_a_search_are_listed() -> None:
    (line,) = [line for line in README.splitlines() if line.startswith("Warnings of a search")]
    assert set(re.findall(r"`(\w+)`", line)) == {SearchUnavailable.code, RERANK_UNAVAILABLE}


def test_the_codes_of_refused_requests_are_listed() -> None:
    table = README.split("codes of a refused request")[1].split("\n\n")[0]
    listed = set(re.findall(r"`([a-z_]+)`", table))
    assert {kind.code for kind in _below(errors.RequestError)} <= listed


def _below(kind: type[errors.ScribelaneError]) -> Iterator[type[errors.ScribelaneError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def test_the_models_of_the_readme_are_the_models() -> None:
    table = README.split("| model | for | weights |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)) == {spec.name for spec in MODELS}


def test_the_targets_of_the_readme_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE)) <= targets


def test_every_file_that_a_page_links_to_is_there() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        assert [link for link in links if not (page.parent / link).exists()] == [], page
