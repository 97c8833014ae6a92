"""Dockerfile.gpu builds, and what is in both images starts: run with `make check-image`.

Real images, the compose file's commands, a real PostgreSQL and Valkey. Only the base image is a stand-in (Debian's
Python, by debootstrap), torch is whatever build of it pip finds first here, and no GPU is expected.
`SCRIBELANE_TEST_GPU=0` leaves out the 1.3 GB of CUDA 12.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from tenacity import retry, stop_after_delay, wait_fixed

from service.embedded import free_port
from tests.container.images import ROOT, Buildah, Container, Image, Program
from tests.container.servers import postgres, valkey

MISSING = [program for program in ("buildah", "debootstrap") if shutil.which(program) is None]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
UID = 10001

pytestmark = [
    pytest.mark.container,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="building without a container engine needs root"),
]


@pytest.fixture(scope="module")
def buildah() -> Iterator[Buildah]:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "scribelane" / "container-base"
    folder = Path(tempfile.mkdtemp(prefix="images-", dir="/var/tmp"))
    try:
        buildah = Buildah(folder)
        buildah.make_base(cache)
        yield buildah
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def api_image(buildah: Buildah) -> Image:
    return buildah.build("api")


@pytest.fixture(scope="module")
def worker_image(buildah: Buildah) -> Image:
    return buildah.build("worker", GPU=os.environ.get("SCRIBELANE_TEST_GPU", "1"), EXTRAS="worker,bundled-models")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with postgres() as database_url, valkey(tmp_path_factory.mktemp("valkey")) as broker_url:
        yield {
            "SCRIBELANE_DATABASE_URL": database_url,
            "SCRIBELANE_BROKER_URL": broker_url,
            "SCRIBELANE_BLOB_URL": "file:///blobs",
        }


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blobs")
    os.chown(folder, UID, UID)
    return folder


@pytest.fixture(scope="module")
def api_container(buildah: Buildah, api_image: Image, environment: dict[str, str], blobs: Path) -> Iterator[Container]:
    with buildah.container(api_image, environment, {blobs: "/blobs", ROOT / "examples": "/examples"}) as container:
        container.run(*api_image.entrypoint, "migrate")
        yield container


@pytest.fixture(scope="module")
def worker_container(
    buildah: Buildah, worker_image: Image, environment: dict[str, str], blobs: Path
) -> Iterator[Container]:
    with buildah.container(worker_image, environment, {blobs: "/blobs"}) as container:
        yield container


def imports(container: Container, *modules: str) -> list[str]:
    """Those of `modules` that the image has."""
    code = f"import importlib.util as u; print(*[m for m in {modules!r} if u.find_spec(m)])"
    return container.run("python", "-c", code).split()


def test_the_api_image_runs_as_nobody_special_and_carries_no_inference_library(
    api_image: Image, api_container: Container
) -> None:
    assert api_image.user == "scribelane"
    assert api_image.command == ["api", "--host", "0.0.0.0", "--port", "8000"]
    assert imports(api_container, "fastapi", "torch", "faster_whisper", "sentence_transformers", "av") == ["fastapi"]
    assert api_container.run("id", "-u").strip() == str(UID)


def test_the_api_starts_from_its_image_and_its_own_health_check_passes(
    api_container: Container, tmp_path: Path
) -> None:
    with serving(api_container, tmp_path / "api.log") as (program, port):
        api_container.run(*(word.replace("8000", str(port)) for word in api_container.image.healthcheck))

        program.terminate()
        program.wait(timeout_s=30)
    # uvicorn closes its connections and then ends by the signal that it was sent.
    assert "exited on terminated" in program.log.read_text()


def test_the_worker_image_finds_the_cuda_12_that_ctranslate2_loads(
    worker_image: Image, worker_container: Container
) -> None:
    if os.environ.get("SCRIBELANE_TEST_GPU") == "0":
        pytest.skip("SCRIBELANE_TEST_GPU=0: built without CUDA")
    code = "import ctypes; [ctypes.CDLL(name) for name in ('libcublas.so.12', 'libcudnn.so.9')]; print('loaded')"

    assert worker_container.run("python", "-c", code).strip() == "loaded"
    assert not [line for line in worker_image.environment if line.startswith("LD_LIBRARY_PATH=")]


@pytest.mark.parametrize(
    ("arguments", "lanes"),
    [
        (["--device", "cpu", "--lanes", "express,standard,batch"], ["express", "standard", "batch"]),
        (["--io"], ["io.express", "io.standard", "io.batch"]),
    ],
    ids=["inference", "io"],
)
def test_a_worker_starts_from_its_image_reports_itself_and_drains(
    api_container: Container,
    worker_container: Container,
    environment: dict[str, str],
    tmp_path: Path,
    arguments: list[str],
    lanes: list[str],
) -> None:
    with worker_container.running("worker", *arguments, log=tmp_path / "worker.log") as program:
        registered(program, environment["SCRIBELANE_DATABASE_URL"], lanes)
        worker_container.run(*COMPOSE["services"]["worker-io"]["healthcheck"]["test"][1:])

        program.terminate()
        assert program.wait(timeout_s=60) == 0, program.log.read_text()

    with psycopg.connect(environment["SCRIBELANE_DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM workers").fetchone() == (0,)


def test_the_two_images_transcribe_a_recording_together(
    api_container: Container, worker_container: Container, environment: dict[str, str], tmp_path: Path
) -> None:
    key = api_container.run("scribelane", "accounts", "create", "image-test").split()[0]

    with (
        serving(api_container, tmp_path / "api.log") as (_, port),
        worker_container.running("worker", "--io", log=tmp_path / "io.log"),
        worker_container.running("worker", log=tmp_path / "worker.log"),
    ):
        reach = ["--url", f"http://127.0.0.1:{port}", "--key", key]
        transcript = api_container.run("scribelane", "transcribe", "/examples/tides.ogg", *reach)

    assert "a short talk about the tides" in transcript


@contextmanager
def serving(api_container: Container, log: Path) -> Iterator[tuple[Program, int]]:
    """The API on a free port, once it answers."""
    port = free_port()
    with api_container.running("api", "--host", "127.0.0.1", "--port", str(port), log=log) as program:
        healthy(program, port)
        yield program, port


@retry(stop=stop_after_delay(30), wait=wait_fixed(0.2), reraise=True)
def healthy(program: Program, port: int) -> None:
    assert program.process.poll() is None, program.log.read_text()
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


@retry(stop=stop_after_delay(120), wait=wait_fixed(0.2), reraise=True)
def registered(program: Program, database_url: str, lanes: list[str]) -> None:
    """The worker's own record says what it takes from."""
    assert program.process.poll() is None, program.log.read_text()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT DISTINCT device, lanes FROM workers").fetchall() == [("cpu", lanes)]
