"""What docker-compose.yml, .env.example and Dockerfile.gpu promise an operator, read from the files themselves.

That the images build and what is in them starts is shown by `make check-image`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)["services"]
GPU_WORKERS = ["worker-gpu0", "worker-gpu1"]
WORKERS = [*GPU_WORKERS, "worker-io", "worker-query"]
OURS = [*WORKERS, "api", "beat", "migrate"]

# ${NAME:?message} stops compose when the variable is missing or empty; ${NAME:-default} does not.
REFERENCE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)(?P<rest>[^}]*)\}")


def seconds(duration: str) -> int:
    """`150s` as a number; other units are not used here."""
    assert duration.endswith("s")
    return int(duration[:-1])


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_the_broker_never_evicts_a_queue_and_writes_down_what_it_accepted() -> None:
    command = SERVICES["valkey"]["command"]

    assert option(command, "--maxmemory-policy") == "noeviction"
    assert option(command, "--appendonly") == "yes"
    assert SERVICES["valkey"]["volumes"] == ["valkey:/data"]


def test_no_secret_has_a_default() -> None:
    references = [match for match in REFERENCE.finditer(COMPOSE_TEXT) if match["name"].endswith("PASSWORD")]

    assert {match["name"] for match in references} == {
        "SCRIBELANE_DATABASE_PASSWORD",
        "SCRIBELANE_BROKER_PASSWORD",
        "SCRIBELANE_FLOWER_PASSWORD",
    }
    assert [match[0] for match in references if not match["rest"].startswith(":?")] == []


@pytest.mark.parametrize(
    ("service", "variable", "holds"),
    [
        ("postgres", "POSTGRES_PASSWORD", r"\$\{SCRIBELANE_DATABASE_PASSWORD:\?.+\}"),
        ("api", "SCRIBELANE_DATABASE_URL", r"postgresql://scribelane:\$\{SCRIBELANE_DATABASE_PASSWORD:\?.+\}@.+"),
        ("api", "SCRIBELANE_BROKER_URL", r"redis://:\$\{SCRIBELANE_BROKER_PASSWORD:\?.+\}@.+"),
        ("flower", "FLOWER_BASIC_AUTH", r"operator:\$\{SCRIBELANE_FLOWER_PASSWORD:\?.+\}"),
    ],
)
def test_every_door_is_locked_with_a_secret_of_the_environment(service: str, variable: str, holds: str) -> None:
    assert re.fullmatch(holds, SERVICES[service]["environment"][variable])


def test_the_example_environment_names_every_variable_and_gives_away_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    assert set(example) == {match["name"] for match in REFERENCE.finditer(COMPOSE_TEXT)}
    assert [name for name, value in example.items() if name.endswith("PASSWORD") and value] == []


def test_the_example_environment_repeats_the_defaults_of_the_compose_file() -> None:
    defaults = {m["name"]: m["rest"][2:] for m in REFERENCE.finditer(COMPOSE_TEXT) if m["rest"].startswith(":-")}
    lines = (ROOT / ".env.example").read_text().splitlines()

    assert [f"{name}={value}" for name, value in defaults.items() if f"{name}={value}" not in lines] == []


def test_each_gpu_worker_owns_one_gpu_and_no_two_share_one() -> None:
    owned = []
    for name in GPU_WORKERS:
        (device,) = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia"
        assert device["capabilities"] == ["gpu"]
        (device_id,) = device["device_ids"]
        owned.append(device_id)
        assert option(SERVICES[name]["command"], "--device") == "cuda:0"
        assert option(SERVICES[name]["command"], "--lanes") == "express,standard,batch"

    assert owned == ["${SCRIBELANE_GPU0:-0}", "${SCRIBELANE_GPU1:-1}"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(GPU_WORKERS)))
def test_nobody_else_takes_a_gpu(name: str) -> None:
    assert "deploy" not in SERVICES[name]
    assert "NVIDIA_VISIBLE_DEVICES" not in (ROOT / "Dockerfile.gpu").read_text()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_stop_leaves_time_to_drain(name: str) -> None:
    assert seconds(SERVICES[name]["stop_grace_period"]) >= 120


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_what_serves_is_restarted(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate", "api"}))
def test_what_serves_is_watched(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


def test_the_api_brings_its_health_check_in_its_image() -> None:
    dockerfile = (ROOT / "Dockerfile.gpu").read_text()

    assert "healthcheck" not in SERVICES["api"]
    assert re.search(r"^FROM runtime AS api\n(?:(?!^FROM).*\n)*HEALTHCHECK", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate"}))
def test_nothing_of_ours_starts_before_the_tables_exist(name: str) -> None:
    assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", ["api", "flower"])
def test_a_published_port_is_bound_to_this_machine_only(name: str) -> None:
    for port in SERVICES[name]["ports"]:
        assert port.startswith("${SCRIBELANE_BIND:-127.0.0.1}:")


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_the_stores_are_not_published_and_their_images_are_exact(name: str) -> None:
    assert "ports" not in SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+(-pg18)?", SERVICES[name]["image"])


@pytest.mark.parametrize("name", OURS)
def test_all_of_us_share_one_blob_store(name: str) -> None:
    assert "blobs:/blobs" in SERVICES[name]["volumes"]
    assert SERVICES[name]["environment"]["SCRIBELANE_BLOB_URL"] == "file:///blobs"


@pytest.mark.parametrize("name", [*OURS, "flower"])
def test_other_settings_of_the_environment_file_reach_us_but_the_passwords_as_such_do_not(name: str) -> None:
    environment = SERVICES[name]["environment"]  # stands above env_file

    assert SERVICES[name]["env_file"] == [{"path": ".env", "required": False}]
    for secret in {match["name"] for match in REFERENCE.finditer(COMPOSE_TEXT) if match["name"].endswith("PASSWORD")}:
        assert environment[secret] == ""


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_the_stores_are_given_what_they_need_and_no_more(name: str) -> None:
    assert "env_file" not in SERVICES[name]


def test_no_health_check_goes_through_a_proxy() -> None:
    for text in (COMPOSE_TEXT, (ROOT / "Dockerfile.gpu").read_text()):
        assert "urlopen" not in text
        assert text.count("healthz") + text.count("/healthcheck") == text.count("build_opener(ProxyHandler({}))")


def test_the_base_image_is_an_exact_build_argument_and_nothing_runs_as_root() -> None:
    dockerfile = (ROOT / "Dockerfile.gpu").read_text()
    finals = re.findall(r"^FROM runtime AS (?:api|worker)\n(?:(?!^FROM).*\n?)*", dockerfile, re.MULTILINE)

    assert re.search(r"^ARG BASE_IMAGE=python:3\.11\.\d+-slim-bookworm$", dockerfile, re.MULTILINE)
    assert len(finals) == 2
    assert [final for final in finals if re.findall(r"^USER (\w+)$", final, re.MULTILINE) != ["scribelane"]] == []
