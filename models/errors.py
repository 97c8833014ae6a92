"""What can go wrong with a model, as one tree.

    ModelError
    ├── UnknownModel            no such name in the registry
    ├── WeightsMissing          the files are in none of the places that were looked at
    ├── WeightsMismatch         a file is there, but its SHA-256 is not the pinned one
    ├── ComputeTypeUnsupported  the device does not compute in the numbers that were asked for
    ├── OutOfDeviceMemory       the device has no room for this model or this batch
    └── DeviceFailed            the device answers nothing any more in this process; a new process may use it

Raised by `registry`, `weights` and the engines. The caller decides what they mean to its own users.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ModelError(Exception):
    """Base of the tree."""


class UnknownModel(ModelError):
    """No model of this name and kind is registered; the message lists those that are."""


class WeightsMissing(ModelError):
    """The weights were found nowhere; the message says where they may be put."""


class WeightsMismatch(ModelError):
    """A file of the weights is not the pinned one. Never a warning: other bytes are another model."""


class ComputeTypeUnsupported(ModelError):
    """The device does not compute in the numbers that were asked for; the message lists those that it does."""


class OutOfDeviceMemory(ModelError):
    """The device ran out of memory while loading or inferring."""


class DeviceFailed(ModelError):
    """The device failed in a way that stays with this process: CUDA calls such an error sticky.

    After an illegal address, a failed assertion or a launch failure every later call of the process fails too
    ("To continue using CUDA, the process must be terminated and relaunched", CUDA Runtime API, `cudaError`).
    """


_NO_ROOM = ("out of memory", "failed to allocate", "cublas_status_alloc_failed")
_STICKY = (
    # What one kernel did.
    "illegal memory access",
    "illegal address",
    "misaligned address",
    "illegal instruction",
    "device-side assert",
    "launch failure",
    "launch failed",
    "launch timed out",
    "hardware stack error",
    # A device that is gone, broken or taken.
    "uncorrectable",
    "hardware error",
    "no cuda-capable device",
    "invalid device ordinal",
    "busy or unavailable",
    "not yet initialized",
    "initialization error",
    "context is destroyed",
    "unknown error",
    "driver version is insufficient",
    # cuBLAS and cuDNN.
    "not_initialized",
    "execution_failed",
    "internal_error",
    "mapping_error",
)
"""In the words of the CUDA runtime, and in the status names of cuBLAS and cuDNN."""


@contextmanager
def device_errors() -> Iterator[None]:
    """Raise `OutOfDeviceMemory` or `DeviceFailed` for what CTranslate2, torch and Python raise in such a case.

    CTranslate2 and torch raise a RuntimeError that says it in words; every other RuntimeError comes through.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfDeviceMemory(str(error) or "out of memory") from error
    except RuntimeError as error:
        words = str(error).lower()
        if any(sign in words for sign in _NO_ROOM):
            raise OutOfDeviceMemory(str(error)) from error
        if any(library in words for library in ("cuda", "cublas", "cudnn")) and any(sign in words for sign in _STICKY):
            raise DeviceFailed(str(error)) from error
        raise
