"""A device is asked before it is relied on."""

from __future__ import annotations

import ctranslate2
import pytest

from models import devices
from models.errors import DeviceFailed, OutOfDeviceMemory, device_errors

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
