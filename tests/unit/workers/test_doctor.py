"""The doctor looks without touching: it downloads nothing, and it asks for what this machine's workers would load."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import ctranslate2
import pytest

from core.settings import Settings
from models import devices
from models.devices import Memory
from models.errors import WeightsMissing
from models.registry import ModelSpec
from workers import doctor
from workers.engines import Weights
from workers.inputs import javascript


@pytest.fixture
def looked_for(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What was looked for, and whether it might have been downloaded; none of it is there."""
    asked: list[tuple[str, bool]] = []

    def locate(weights: Weights, spec: ModelSpec) -> Path:
        asked.append((spec.name, weights.download))
        raise WeightsMissing("not on this machine")

    monkeypatch.setattr(Weights, "locate", locate)
    return asked


@pytest.mark.parametrize(("n_gpus", "whisper"), [(0, "base"), (1, "large-v3-turbo")])
def test_the_default_model_of_the_machine_is_looked_for_and_never_downloaded(
    monkeypatch: pytest.MonkeyPatch, looked_for: list[tuple[str, bool]], n_gpus: int, whisper: str
) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: n_gpus)

    findings = list(doctor._models(Settings(hub_download=True, whisper_model="", embedding_model="")))

    assert looked_for == [(whisper, False), ("all-MiniLM-L6-v2", False)]
    assert all("would download" in finding.state and finding.advice for finding in findings)


def test_a_re_ranker_is_looked_for_where_one_is_configured(looked_for: list[tuple[str, bool]]) -> None:
    findings = list(doctor._models(Settings(hub_download=False, rerank_model="bge-reranker-v2-m3")))

    assert looked_for[-1] == ("bge-reranker-v2-m3", False)
    assert (findings[-1].what, findings[-1].state) == ("weights of bge-reranker-v2-m3", "not usable")


def test_a_re_ranker_of_the_operators_own_is_told_from_one_whose_bytes_are_pinned(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (tmp_path / "house" / name).write_bytes(b"{}")

    found = list(doctor._models(Settings(models_dir=tmp_path, rerank_model="house")))[-1]

    assert (found.state, found.advice) == (f"not pinned, in {tmp_path / 'house'}", "")


def test_what_youtube_needs_is_shown_with_its_versions() -> None:
    versions = {finding.what: finding for finding in doctor._versions(Settings())}
    (runtime,) = doctor._youtube(Settings())

    assert versions["yt-dlp"].state == importlib.metadata.version("yt-dlp")
    assert versions["yt-dlp-ejs"].state == importlib.metadata.version("yt-dlp-ejs")
    assert (runtime.state, runtime.advice) == (f"Deno {importlib.metadata.version('deno')}", "")


def test_a_machine_without_a_javascript_runtime_is_told_what_youtube_does_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(javascript, "runtime", lambda: None)

    (runtime,) = doctor._youtube(Settings())

    assert "YouTube refuses" in runtime.advice


HEAD = "# Netscape HTTP Cookie File\n"


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "cannot be read: it is not in Netscape's format"),
        ('[{"name": "SID", "value": "secret"}]', "cannot be read: it is not in Netscape's format"),
        (f"{HEAD}.youtube.com SID secret\n", "0 for YouTube that have not expired"),
        (f"{HEAD}.example.org\tTRUE\t/\tTRUE\t0\tSID\tsecret\n", "0 for YouTube that have not expired"),
        (f"{HEAD}.youtube.com\tTRUE\t/\tTRUE\t99\tSID\tsecret\n", "0 for YouTube that have not expired"),
    ],
)
def test_cookies_that_are_of_no_use_are_said_without_a_word_of_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str | None, state: str
) -> None:
    file = tmp_path / "cookies.txt"
    if content is not None:
        file.write_text(content)

    _, found = doctor._youtube(Settings(youtube_cookies_file=file))

    assert found.state == state
    assert "SCRIBELANE_YOUTUBE_COOKIES_FILE" in found.advice
    assert "secret" not in "".join((*capfd.readouterr(), found.state, found.advice))


def test_cookies_that_youtube_would_be_sent_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "cookies.txt"
    file.write_text(f"{HEAD}.youtube.com\tTRUE\t/\tTRUE\t0\tSID\tsecret\n")

    _, found = doctor._youtube(Settings(youtube_cookies_file=file))

    assert (found.state, found.advice) == ("1 for YouTube that have not expired", "")


def test_a_variable_of_no_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    (before,) = doctor._variables(Settings())
    monkeypatch.setenv("SCRIBELANE_ORPHANS_S", "1")

    (after,) = doctor._variables(Settings())

    assert (before.state, before.advice) == ("all known", "")
    assert "SCRIBELANE_ORPHANS_S" in after.advice
    assert "SCRIBELANE_ORPHAN_S meant" in after.advice


def test_tiers_that_cannot_work_are_said_by_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[tiers.free]\nmedia_max_s = 0\n")

    (default,), (broken,) = (list(doctor._tiers(Settings(tiers_file=path))) for path in (None, file))

    assert (default.state, default.advice) == ("the defaults", "")
    assert f"{file}: tiers.free.media_max_s" in broken.advice


NO_GPU = pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="there is a GPU, and tests/gpu asks it")


@NO_GPU
def test_without_a_gpu_it_says_what_a_worker_on_the_cpu_would_use() -> None:
    n_gpus, cpu = doctor._devices(Settings())

    assert (n_gpus.state, cpu.what, cpu.advice) == ("0", "cpu", "")
    assert cpu.state.startswith("computes in float32, int")
    assert cpu.state.endswith("chosen: int8; clips at once: 4; no limit for loaded models")


@NO_GPU
def test_a_budget_and_numbers_of_ones_own_are_shown_and_numbers_that_the_device_lacks_advised_against() -> None:
    _, chosen = doctor._devices(Settings(compute_type="float32", model_budget_bytes=3 * 1024**3))
    _, wrong = doctor._devices(Settings(compute_type="int8_float16"))

    assert "chosen: float32;" in chosen.state
    assert chosen.state.endswith("3.0 GiB for loaded models")
    assert "SCRIBELANE_COMPUTE_TYPE" in wrong.advice
    assert "does not compute in int8_float16" in wrong.advice


def test_each_gpu_is_shown_with_its_own_numbers_memory_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {("cuda", 0): {"float16", "float32"}, ("cuda", 1): {"float32", "int8", "int8_float32"}}
    memory = {"cuda:0": Memory(80 * 1024**3, 79 * 1024**3), "cuda:1": Memory(8 * 1024**3, 3 * 1024**3)}
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda kind, index: numbers[kind, index])
    monkeypatch.setattr(devices, "memory", memory.__getitem__)

    (large,), (small,) = (list(doctor._device(Settings(), device)) for device in memory)

    assert "chosen: float16; clips at once: 4, up to 64 while that pays and fits; 40.0 GiB" in large.state
    assert "chosen: int8_float32; clips at once: 4, up to 8 while that pays and fits; 4.0 GiB" in small.state


def test_weights_that_cannot_come_are_not_usable(looked_for: list[tuple[str, bool]]) -> None:
    findings = list(doctor._models(Settings(hub_download=False)))

    assert len(looked_for) == 2
    assert {finding.state for finding in findings} == {"not usable"}
