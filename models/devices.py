"""What a device can do, asked before anything is loaded on it: whether it computes, in which numbers, and its memory.

A worker sees its own GPU only, so for it that is the first. `whisper`, the worker's start and the doctor ask here.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import ComputeTypeUnsupported, DeviceFailed

_BEST_CUDA = ("float16", "int8_float16", "int8_float32", "float32")
_BEST_CPU = ("int8", "float32")
"""By preference. On a GPU float16 is what the weights were made in; int8 beside it takes half of the memory and, by
faster-whisper's own figures, about the same time. On a CPU int8 is half as fast again as float32, in half of its memory
(`base`, benchmarks.cpu_threads)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A device's own memory, and what of it nobody holds now."""

    total_bytes: int
    free_bytes: int


def check(device: str) -> None:
    """Have a GPU take a number. Raises `DeviceFailed` with what the driver says; the CPU is not asked.

    `device` is `cpu` or `cuda:N`. It goes by way of CTranslate2, which is quicker to import than torch and takes no
    memory of the GPU beyond the process's context.
    """
    if not device.startswith("cuda"):
        return
    import ctranslate2
    import numpy as np

    try:
        ctranslate2.StorageView.from_array(np.zeros(1, dtype=np.float32)).to_device(ctranslate2.Device.cuda)
    except RuntimeError as error:
        raise DeviceFailed(f"{device} does not answer: {error}") from error


def compute_types(device: str) -> frozenset[str]:
    """The numbers that CTranslate2 can compute in on a device. Raises `DeviceFailed`."""
    import ctranslate2

    try:
        return frozenset(ctranslate2.get_supported_compute_types(*_kind_and_index(device)))
    except (RuntimeError, ValueError) as error:
        raise DeviceFailed(f"{device} does not answer: {error}") from error


def compute_type(device: str, asked: str = "") -> str:
    """The compute type that was asked for, else the device's best.

    Raises `ComputeTypeUnsupported` for one that the device does not have, and `DeviceFailed`.
    """
    supported = compute_types(device)
    if asked and asked not in supported:
        raise ComputeTypeUnsupported(f"{device} does not compute in {asked}; it does in {', '.join(sorted(supported))}")
    best = _BEST_CUDA if device.startswith("cuda") else _BEST_CPU
    return asked or next(one for one in best if one in supported)


def memory(device: str) -> Memory | None:
    """A GPU's memory; None for the CPU, and where torch has no CUDA to ask with."""
    if not device.startswith("cuda"):
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    free_bytes, total_bytes = torch.cuda.mem_get_info(_kind_and_index(device)[1])
    return Memory(total_bytes, free_bytes)


def _kind_and_index(device: str) -> tuple[str, int]:
    kind, _, index = device.partition(":")
    return kind, int(index or 0)
