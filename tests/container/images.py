"""Building and running the images of Dockerfile.gpu with buildah, without Docker and without pulling a base image.

What the builds need of this machine (a private certificate authority, package folders, an index of its own) is read
from pip's configuration here and carried by the stand-in base image and by mounts; the Dockerfile knows nothing of it.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
BASE = "localhost/scribelane-test-base"
IMAGE_CA = "/opt/test-ca.crt"
"""Where the stand-in base finds the host's CA bundle: the usual path is rewritten when ca-certificates is installed."""

CARRIED_PIP_SETTINGS = ("index-url", "extra-index-url", "find-links", "trusted-host", "default-timeout")


@dataclass(frozen=True, slots=True)
class HostPip:
    """What pip needs to know to reach packages from here: environment for the base image, folders to mount."""

    environment: Mapping[str, str]
    mounts: Mapping[Path, str]


def host_pip() -> HostPip:
    """Pip's settings on this machine, as it lists them itself; the environment's win over the files'."""
    listed = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True).splitlines()
    pairs = [line.split("=", 1) for line in sorted(listed, key=lambda line: line.startswith(":env:"))]
    settings = {key.split(".", 1)[1]: str(ast.literal_eval(value)) for key, value in pairs}

    environment = {
        f"PIP_{name.upper().replace('-', '_')}": " ".join(settings[name].split())
        for name in CARRIED_PIP_SETTINGS
        if name in settings
    }
    mounts = {folder: str(folder) for value in environment.values() for folder in _folders(value)}
    if ca_bundle := settings.get("cert") or os.environ.get("SSL_CERT_FILE"):
        environment["PIP_CERT"] = IMAGE_CA
        mounts[Path(ca_bundle)] = IMAGE_CA
    return HostPip(environment, mounts)


def _folders(value: str) -> Iterator[Path]:
    """The local folders that a setting names. The files of an index lie beside its `simple` folder."""
    for word in value.split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.exists():
            yield path.parent if path.name == "simple" else path


@dataclass(frozen=True, slots=True)
class Image:
    """A built image and what its metadata says."""

    name: str
    user: str
    entrypoint: Sequence[str]
    command: Sequence[str]
    environment: Sequence[str]
    healthcheck: Sequence[str]


@dataclass(frozen=True, slots=True)
class Buildah:
    """buildah with a storage of its own below `folder`, so that nothing is left when the folder is removed."""

    folder: Path
    pip: HostPip = field(default_factory=host_pip)

    def environment(self) -> dict[str, str]:
        configuration = self.folder / "storage.conf"
        if not configuration.exists():
            places = f'graphroot = "{self.folder}/graph"\nrunroot = "{self.folder}/run"\n'
            configuration.write_text(f'[storage]\ndriver = "vfs"\n{places}')
        return {**os.environ, "CONTAINERS_STORAGE_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}

    def __call__(self, *arguments: str) -> str:
        """Run one buildah command; its output is shown when it fails."""
        done = subprocess.run(
            ["buildah", *arguments], cwd=ROOT, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"buildah {' '.join(arguments)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def make_base(self, cache: Path) -> None:
        """The stand-in for `python:3.11-slim`: Debian's Python, with this machine's pip settings."""
        settings = [f"--env={name}={value}" for name, value in self.pip.environment.items()]
        script = ROOT / "tests/container/build_base.sh"
        subprocess.run([script, BASE, str(cache), *settings], env=self.environment(), check=True)

    def build(self, target: str, **arguments: str) -> Image:
        """Build one target of Dockerfile.gpu on the stand-in base."""
        name = f"localhost/scribelane-test-{target}"
        mounts = [f"--volume={source}:{inside}:ro" for source, inside in self.pip.mounts.items()]
        build_arguments = [f"--build-arg={key}={value}" for key, value in {"BASE_IMAGE": BASE, **arguments}.items()]
        # Docker's format keeps HEALTHCHECK, which OCI's does not know. Cached layers would be whole copies in vfs.
        options = ["--format=docker", "--layers=false", f"--target={target}", f"--tag={name}"]
        self("bud", *options, *mounts, *build_arguments, "--file=Dockerfile.gpu", ".")
        return self._inspect(name)

    def _inspect(self, name: str) -> Image:
        found: dict[str, Any] = json.loads(self("inspect", "--type=image", name))["Docker"]["config"]
        # "CMD" or "CMD-SHELL" comes first.
        healthcheck = found.get("Healthcheck", {}).get("Test", [])[1:]
        return Image(name, found["User"], found["Entrypoint"], found["Cmd"], found["Env"], healthcheck)

    @contextmanager
    def container(
        self, image: Image, environment: Mapping[str, str], mounts: Mapping[Path, str]
    ) -> Iterator[Container]:
        """A container of `image` on the host's network, removed at the end."""
        name = self("from", image.name).strip()
        self("config", *(f"--env={key}={value}" for key, value in environment.items()), name)
        try:
            yield Container(self, name, image, [f"--volume={source}:{inside}" for source, inside in mounts.items()])
        finally:
            self("rm", name)


@dataclass(frozen=True, slots=True)
class Container:
    """Something to run commands in, as the image's own user."""

    buildah: Buildah
    name: str
    image: Image
    mounts: Sequence[str]

    def run(self, *command: str) -> str:
        """Run a command to its end and return what it printed."""
        return self.buildah("run", *self.mounts, self.name, "--", *command)

    @contextmanager
    def running(self, *arguments: str, log: Path) -> Iterator[Program]:
        """The image's entry point with `arguments`, until the end of the block; its output goes to `log`."""
        command = ["buildah", "run", *self.mounts, self.name, "--", *self.image.entrypoint, *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=self.buildah.environment(), stdout=output, stderr=output)
        program = Program(process, log)
        try:
            yield program
        finally:
            if process.poll() is None:
                program.terminate()
                program.wait(timeout_s=60)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs in a container."""

    process: subprocess.Popen[bytes]
    log: Path

    def terminate(self) -> None:
        """Ask it to stop, as a container engine would; buildah's own processes around it pass no signal on."""
        innermost = psutil.Process(self.process.pid)
        while innermost.cmdline()[:1] and innermost.cmdline()[0].startswith("buildah"):
            innermost = innermost.children()[0]
        innermost.terminate()

    def wait(self, timeout_s: float) -> int:
        """Its exit status."""
        return self.process.wait(timeout=timeout_s)
