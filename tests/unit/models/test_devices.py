"""A device is asked before it is relied on."""

from __future__ import annotations

import ctranslate2
import pytest

from models import devices
from models.errors import ComputeTypeUnsupported, DeviceFailed, OutOfDeviceMemory, device_errors

NO_GPU = ctranslate2.get_cuda_device_count() == 0


def test_the_cpu_is_there() -> None:
    devices.check("cpu")


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU, and tests/gpu asks it")
def test_a_gpu_that_does_not_answer_is_told_with_the_words_of_its_driver() -> None:
    with pytest.raises(DeviceFailed, match=r"cuda:0 does not answer: CUDA failed"):
        devices.check("cuda:0")


@pytest.mark.parametrize(
    "words",
    [
        "CUDA failed with error no CUDA-capable device is detected",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "CUDA error: initialization error",
        "CUDA failed with error uncorrectable ECC error encountered",
        "cuBLAS failed with status CUBLAS_STATUS_NOT_INITIALIZED",
    ],
)
def test_a_device_that_is_gone_is_not_the_fault_of_what_was_inferred(words: str) -> None:
    with pytest.raises(DeviceFailed), device_errors():
        raise RuntimeError(words)


def test_a_device_that_is_full_is_not_taken_for_broken() -> None:
    with pytest.raises(OutOfDeviceMemory), device_errors():
        raise RuntimeError("CUDA failed with error out of memory")


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="unknown error of a model") as caught, device_errors():
        raise RuntimeError("unknown error of a model")
    assert type(caught.value) is RuntimeError


ALL = {"float16", "int8_float16", "int8_float32", "float32", "int8", "bfloat16"}


@pytest.mark.parametrize(
    ("device", "supported", "chosen"),
    [
        ("cuda:0", ALL, "float16"),
        ("cuda:0", {"int8_float32", "float32", "int8"}, "int8_float32"),
        ("cuda:0", {"float32"}, "float32"),
        ("cpu", {"int8", "int16", "int8_float32", "float32"}, "int8"),
        ("cpu", {"float32"}, "float32"),
    ],
)
def test_the_numbers_are_the_best_that_the_device_has(
    monkeypatch: pytest.MonkeyPatch, device: str, supported: set[str], chosen: str
) -> None:
    of = {(device.partition(":")[0], 0): supported}
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda kind, index: of[kind, index])

    assert devices.compute_type(device) == chosen


def test_numbers_that_are_asked_for_are_taken_where_the_device_has_them() -> None:
    assert devices.compute_type("cpu", "float32") == "float32"


def test_numbers_that_the_device_has_not_are_refused_with_those_that_it_has() -> None:
    with pytest.raises(ComputeTypeUnsupported, match=r"cpu .* not .* int8_float16; it does in .*float32, int"):
        devices.compute_type("cpu", "int8_float16")


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU, and tests/gpu asks it")
def test_a_gpu_that_is_not_there_has_no_numbers_and_no_memory() -> None:
    with pytest.raises(DeviceFailed, match="cuda:0 does not answer"):
        devices.compute_type("cuda:0")
    assert devices.memory("cuda:0") is None


def test_the_memory_of_the_cpu_is_not_a_devices_own() -> None:
    assert devices.memory("cpu") is None
