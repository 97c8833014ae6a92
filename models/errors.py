"""What can go wrong with a model, as one tree.

    ModelError
    ├── UnknownModel        no such name in the registry
    ├── WeightsMissing      the files are in none of the places that were looked at
    ├── WeightsMismatch     a file is there, but its SHA-256 is not the pinned one
    └── OutOfDeviceMemory   the device has no room for this model or this batch

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


class OutOfDeviceMemory(ModelError):
    """The device ran out of memory while loading or inferring."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise `OutOfDeviceMemory` for what CTranslate2, torch and Python raise when there is no room left.

    CTranslate2 and torch raise a RuntimeError that says so in words; every other RuntimeError comes through.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfDeviceMemory(str(error) or "out of memory") from error
    except RuntimeError as error:
        if "out of memory" in str(error).lower() or "failed to allocate" in str(error).lower():
            raise OutOfDeviceMemory(str(error)) from error
        raise
