"""Whether a device computes at all, asked before anything is loaded on it."""

from __future__ import annotations

from models.errors import DeviceFailed


def check(device: str) -> None:
    """Have a GPU take a number. Raises `DeviceFailed` with what the driver says; the CPU is not asked.

    `device` is `cpu` or `cuda:N`. A worker sees its own GPU only, so it is always the first. It goes by way of
    CTranslate2, which is quicker to import than torch and takes no memory of the GPU beyond the process's context.
    """
    if not device.startswith("cuda"):
        return
    import ctranslate2
    import numpy as np

    try:
        ctranslate2.StorageView.from_array(np.zeros(1, dtype=np.float32)).to_device(ctranslate2.Device.cuda)
    except RuntimeError as error:
        raise DeviceFailed(f"{device} does not answer: {error}") from error
